"""Preview a row's cells: thumbnails of images and frames, audio to see and to hear, excerpts of texts.

Made of preprocessed items, so that one sees what the model gets: the frames that were taken of a video, an image at the
column's size, audio as one channel.
"""

from __future__ import annotations

import numpy as np

from polysense.core.modality import Modality
from polysense.core.preview import CellPreview, as_jpeg, side_by_side
from polysense.core.sample import Sample
from polysense.core.schema import Column
from polysense.data.sources import Table
from polysense.modalities.audio.preview import as_playable, spectrogram_image
from polysense.modalities.image.preview import thumbnail
from polysense.modalities.video.decode import even_positions

__all__ = ["preview_cell", "preview_input"]

_MAX_IMAGES = 8
_MAX_AUDIO = 3
_MAX_TEXTS = 20


def preview_cell(column: Column, table: Table, position: int, sample: Sample) -> CellPreview:
    """One cell of a table's row, small: a single image, a single clip."""
    cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
    return preview_input(column, cell, sample, most=1)[0]


def preview_input(
    column: Column, cell: object, sample: Sample, *, most: int = _MAX_IMAGES, side: int = 128, player: bool = True
) -> tuple[CellPreview, np.ndarray | None]:
    """An input, and its images side by side.

    Args:
        column: Which.
        cell: As it stands in the table.
        sample: The preprocessed row.
        most: Images of a cell that holds several, at most.
        side: Pixels of a thumbnail.
        player: Whether audio is there to be played; else it is only seen.
    """
    name, items = column.name, sample.values.get(column.name, [])
    if not items:
        reason = next((cell.reason for cell in sample.unreadable if cell.source.column == name), None)
        note = "missing" if reason is None else f"can't be read: {reason}"
        return CellPreview(column=name, note=note, is_absent=True), None
    if column.modality is Modality.IMAGE:
        images = [thumbnail(items[i], side) for i in even_positions(len(items), most)]
        note = f"{len(images)} of {len(items)} images" if len(items) > len(images) else ""
        return CellPreview(column=name, images=list(map(as_jpeg, images)), note=note), side_by_side(images)
    if column.modality is Modality.AUDIO:
        assert column.sample_rate is not None
        clips = items[: min(most, _MAX_AUDIO)]
        images = [spectrogram_image(clip) for clip in clips]
        players = [as_playable(clip, column.sample_rate) for clip in clips] if player else []
        seconds = ", ".join(f"{len(clip) / column.sample_rate:.1f} s" for clip in clips)
        preview = CellPreview(
            column=name,
            images=list(map(as_jpeg, images)),
            audio=[one for one in players if one],
            note=seconds + (f", and {len(items) - len(clips)} more" if len(items) > len(clips) else ""),
            stretches=True,
        )
        return preview, side_by_side(images)
    cells = [part for part in cell if part is not None] if isinstance(cell, list) else [cell]
    note = f"and {len(cells) - _MAX_TEXTS} more" if len(cells) > _MAX_TEXTS else ""
    texts = [f"{part:.6g}" if isinstance(part, float) else str(part) for part in cells[:_MAX_TEXTS]]
    return CellPreview(column=name, texts=texts, note=note), None

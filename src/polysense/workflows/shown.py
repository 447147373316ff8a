"""A row's cells as a person sees them: thumbnails of pictures and frames, sound to see and to hear, texts."""

from __future__ import annotations

import numpy as np

from polysense.core.modality import Modality
from polysense.core.sample import Sample
from polysense.core.schema import Column
from polysense.data.preview import as_jpeg, as_playable, spectrogram_picture, strip, thumbnail
from polysense.data.sources import Table
from polysense.evaluation.cells import Input
from polysense.modalities.video.decode import even_positions

__all__ = ["shown_cell", "shown_input"]

_MAX_PICTURES = 8
_MAX_SOUNDS = 3
_MAX_TEXTS = 20


def shown_cell(column: Column, table: Table, position: int, sample: Sample) -> Input:
    """One cell of a table's row, small: a single picture, a single sound."""
    cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
    return shown_input(column, cell, sample, most=1)[0]


def shown_input(
    column: Column, cell: object, sample: Sample, *, most: int = _MAX_PICTURES, side: int = 128, sound: bool = True
) -> tuple[Input, np.ndarray | None]:
    """An input as it is shown, and its pictures side by side.

    Args:
        column: Which.
        cell: As it stands in the table.
        sample: The preprocessed row.
        most: Pictures of a cell that holds several, at most.
        side: Pixels of a thumbnail.
        sound: Whether sound is there to be played; else it is only seen.
    """
    name, items = column.name, sample.values.get(column.name, [])
    if not items:
        reason = next((cell.reason for cell in sample.unreadable if cell.source.column == name), None)
        note = "missing" if reason is None else f"can't be read: {reason}"
        return Input(column=name, note=note, is_absent=True), None
    if column.modality is Modality.IMAGE:
        pictures = [thumbnail(items[i], side) for i in even_positions(len(items), most)]
        note = f"{len(pictures)} of {len(items)} pictures" if len(items) > len(pictures) else ""
        return Input(column=name, pictures=list(map(as_jpeg, pictures)), note=note), strip(pictures)
    if column.modality is Modality.AUDIO:
        assert column.sample_rate is not None
        num_sounds = min(most, _MAX_SOUNDS)
        pictures = [spectrogram_picture(item) for item in items[:num_sounds]]
        sounds = [as_playable(item, column.sample_rate) for item in items[:num_sounds]] if sound else []
        seconds = ", ".join(f"{len(item) / column.sample_rate:.1f} s" for item in items[:num_sounds])
        note = seconds + (f", and {len(items) - num_sounds} more" if len(items) > num_sounds else "")
        files = list(map(as_jpeg, pictures))
        playable = [one for one in sounds if one]
        shown = Input(column=name, pictures=files, sounds=playable, note=note, stretches=True)
        return shown, strip(pictures)
    cells = [part for part in cell if part is not None] if isinstance(cell, list) else [cell]
    note = f"and {len(cells) - _MAX_TEXTS} more" if len(cells) > _MAX_TEXTS else ""
    texts = [f"{part:.6g}" if isinstance(part, float) else str(part) for part in cells[:_MAX_TEXTS]]
    return Input(column=name, texts=texts, note=note), None

"""Preview a row's cells: thumbnails of images and frames, audio to see and to hear, excerpts of texts.

Made of preprocessed items, so that one sees what the model gets: the frames that were taken of a video, an image at the
column's size, audio as one channel.
"""

from __future__ import annotations

import numpy as np

from polysense.core.preview import CellPreview, as_jpeg, side_by_side
from polysense.core.registry import modality
from polysense.core.sample import Sample
from polysense.core.schema import Column
from polysense.data.tables.sources import Table

__all__ = ["preview_cell", "preview_input"]

_MAX_IMAGES = 8


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
    preview = modality(column.modality).preview(column, cell, items, most=most, side=side, playable=player)
    listed = CellPreview(
        column=name,
        texts=preview.texts,
        images=list(map(as_jpeg, preview.images)),
        audio=preview.audio,
        note=preview.note,
        stretches=preview.stretches,
    )
    return listed, side_by_side(list(preview.images)) if preview.images else None

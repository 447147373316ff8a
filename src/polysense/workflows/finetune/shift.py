"""Whether preprocessing that was fitted on other rows suits these: a kilogram is no gram, and a name may be unknown.

Nothing is changed by it, since the encoder that comes with the preprocessing would no longer understand its input.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polysense.core.modality import Modality
from polysense.data.column import NUM_SAMPLED, ColumnProcessor, sampled
from polysense.data.sources import Table
from polysense.errors import DecodeError
from polysense.modalities.category.column import CategoryProcessor
from polysense.modalities.text.column import TextProcessor

__all__ = ["doubts"]

_FAR = 5.0  # of the fitted scale: half of the values lie where there was hardly one
_MANY = 0.5


def doubts(column: ColumnProcessor, table: Table) -> Iterator[str]:
    """What in a table's column lies outside what the preprocessing knows.

    Args:
        column: Fitted elsewhere.
        table: Its training rows; a few hundred cells are looked at.
    """
    modality = column.column.modality
    if modality not in (Modality.NUMBER, Modality.CATEGORY, Modality.TEXT) or not table.has(column.source):
        return
    cells = [cell for cell in table.cells(column.source) if cell is not None]
    values = []
    for position in sampled(range(len(cells)), NUM_SAMPLED):
        try:
            values += column.transform(cells[position], table.source(position, column.source), table.root)
        except DecodeError:
            continue  # listed when its row is read
    if not values:
        return
    if modality is Modality.NUMBER:
        middle = float(np.median(np.stack(values)))
        if abs(middle) > _FAR:
            yield (
                f"its numbers lie {abs(middle):.1f} scales away from those that its encoder was trained on; is it "
                "another unit?"
            )
    elif isinstance(column, TextProcessor):
        unknown_id = column.unknown_id
        share = 0.0 if unknown_id is None else float(np.mean(np.concatenate(values) == unknown_id))
        if share > _MANY:
            yield f"{share:.0%} of its words have no id in the vocabulary that comes with its encoder"
    elif isinstance(column, CategoryProcessor) and column.num_buckets is None:
        unknown = float(np.mean(np.stack(values) == 0))
        if unknown > _MANY:
            yield f"{unknown:.0%} of its cells hold a category that its encoder does not know: they all look the same"

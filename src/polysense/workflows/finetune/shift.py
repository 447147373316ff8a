"""Whether preprocessing that was fitted on other rows suits these: a kilogram is no gram, and a name may be unknown.

Nothing is changed by it, since the encoder that comes with the preprocessing would no longer understand its input.
"""

from __future__ import annotations

from polysense.core.registry import modality
from polysense.data.column import NUM_SAMPLED, ColumnProcessor, sampled
from polysense.data.tables.sources import Table
from polysense.errors import DecodeError

__all__ = ["shift"]


def shift(column: ColumnProcessor, table: Table) -> str | None:
    """What in a table's column lies outside what the preprocessing knows; None if nothing does.

    Args:
        column: Fitted elsewhere.
        table: Its training rows; a few hundred cells are looked at.
    """
    if modality(column.column.modality).is_file or not table.has(column.source):
        return None
    cells = [cell for cell in table.cells(column.source) if cell is not None]
    items = []
    for position in sampled(range(len(cells)), NUM_SAMPLED):
        try:
            items += column.transform(
                cells[position], table.source(position, column.source), table.root_of(column.source)
            )
        except DecodeError:
            continue  # listed when its row is read
    return column.shift(items) if items else None

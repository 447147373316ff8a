"""DescribedColumn: the numbers that describe a column's cells, read once however many targets are audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from polysense.core.descriptor import Descriptor
from polysense.core.random import permutation
from polysense.core.schema import Column
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.errors import DecodeError

__all__ = ["DescribedColumn", "describe"]


@dataclass(frozen=True, eq=False, kw_only=True)
class DescribedColumn:
    """What describes the cells of a table's column.

    Attributes:
        numbers: By descriptor, of every row of the table; NaN where it is not known.
        num_read: Cells that were looked at.
        num_there: Cells that are not missing.
    """

    numbers: Mapping[str, Float[np.ndarray, " rows"]]
    num_read: int
    num_there: int


def describe(
    dataset: TableDataset,
    column: Column,
    descriptors: Sequence[Descriptor],
    *,
    most_decoded: int,
    has_time: Callable[[], bool],
    seed: int,
) -> DescribedColumn:
    """Reads a column's cells.

    Args:
        dataset: Of the table.
        column: One of its input columns, which the table has.
        descriptors: Of the column's modality.
        most_decoded: Cells of files that are decoded.
        has_time: Whether there is time for one more of these.
        seed: Of their choice: by chance, for tables are sorted, and time may end the reading.
    """
    processor, table, name = dataset.processor, dataset.table, column.table_column
    assert isinstance(processor, Processor), f"found a {type(processor).__name__}, expected the fitted preprocessing"
    fitted, cells = processor.columns[column.name], table.cells(name)
    numbers = {descriptor.name: np.full(len(cells), np.nan) for descriptor in descriptors}
    there = [i for i in permutation(len(cells), seed, "described", column.name).tolist() if cells[i] is not None]
    needs_items = any(descriptor.reads_items for descriptor in descriptors)
    num_read = 0
    for i in there[:most_decoded] if fitted.is_media else there:
        items: Sequence[np.ndarray] = []
        if fitted.is_media and not has_time():
            break
        num_read += 1
        if needs_items:
            try:
                items = fitted.transform(cells[i], table.source(i, name), table.root_of(fitted.source))
            except DecodeError:
                continue  # listed among the unreadable cells
            if not items:
                continue
        for descriptor in descriptors:
            numbers[descriptor.name][i] = descriptor.measure(fitted.column, cells[i], items)
    return DescribedColumn(numbers=numbers, num_read=num_read, num_there=len(there))

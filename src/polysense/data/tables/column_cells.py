"""All cells of a column, made as they are asked for: a million Python texts take 60 to 100 MB, a chunk of them one.

Whoever goes through a column once, or looks at some of its cells, sees what a list would hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from polysense.data.tables.mapped_frame import chunks_of

__all__ = ["ColumnCells"]


class ColumnCells(Sequence[object]):
    """A column's cells as a sequence that holds none of them.

    Args:
        num_rows: Cells.
        at: Reads one.
        between: Reads those of some rows one after the other, the end not included.
        at_once: Cells that are read at once.
    """

    def __init__(
        self,
        num_rows: int,
        at: Callable[[int], object],
        between: Callable[[int, int], list[object]],
        at_once: int,
    ) -> None:
        self._rows, self._at, self._between, self._at_once = range(num_rows), at, between, at_once

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[object]:
        for part in chunks_of(len(self._rows), self._at_once):
            yield from self._between(part.start, part.stop)

    @overload
    def __getitem__(self, index: int) -> object: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[object]: ...

    def __getitem__(self, index: int | slice) -> object:
        rows = self._rows[index]
        if isinstance(rows, int):
            return self._at(rows)
        if rows.step == 1:
            return self._between(rows.start, max(rows.start, rows.stop))
        return [self._at(row) for row in rows]

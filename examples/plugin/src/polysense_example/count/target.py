"""A cell as a count: 0, 1, 2 and so on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.schema import Target
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.data.values.notation import Notation
from polysense.errors import ColumnError, DecodeError
from polysense_example.count.record import CountTarget

__all__ = ["CountProcessor", "CountTargetConfig"]


@dataclass(frozen=True, kw_only=True)
class CountTargetConfig(TargetConfig):
    """How often something happens: 0, 1, 2 and so on."""

    task: ClassVar[str] = "count"
    type: Literal["count"] = "count"

    def build(self, name: str) -> CountProcessor:
        return CountProcessor(name, self)


class CountProcessor(TargetProcessor):
    """Reads counts; a value is a float32 scalar."""

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        counts = []
        for cell in cells[0]:
            try:
                counts.append(_count(cell))
            except DecodeError:
                continue  # listed when its row is read
        known = [count for count in counts if count is not None]
        if not any(known):
            raise ColumnError(f"{table.name}, target column {self.name!r}: no training row has a count above 0")
        return CountTarget(name=self.name, columns=self.columns, num_rows=len(known), mean=float(np.mean(known)))

    def _value(self, cells: list[object]) -> np.ndarray | None:
        count = _count(cells[0])
        return None if count is None else np.array(count, dtype=np.float32)

    def render(self, value: Any) -> float:
        return float(value)


def _count(cell: object) -> float | None:
    number = Notation().read(cell)
    if number is not None and (number < 0 or not number.is_integer()):
        raise DecodeError(f"found {cell!r}, expected a count: 0, 1, 2 and so on")
    return number

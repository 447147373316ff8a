"""A series in parts: stretches of steps. A removed stretch was not measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import CellParts, Place, stretches
from polysense.core.modality_spec import FittedColumn
from polysense.modalities.series.record import SeriesColumn

__all__ = ["SeriesParts", "series_parts"]


def series_parts(fitted: FittedColumn, cell: object, root: Path, items: Sequence[np.ndarray], most: int) -> SeriesParts:
    """The stretches of a cell's series; see `core.modality_spec.MakeParts`."""
    return SeriesParts(cell, items, SeriesColumn.of(fitted.column), most)


class SeriesParts(CellParts):
    """The stretches of one series, or of several, all channels together."""

    removed = "not measured"

    def __init__(self, cell: object, items: Sequence[np.ndarray], column: SeriesColumn, most: int) -> None:
        self._cell, self._items = cell, list(items)
        self.places: list[Place] = []
        self._ranges: list[tuple[int, int, int]] = []
        share = max(1, most // len(self._items))
        for item, values in enumerate(self._items):
            which = f"series {item + 1}, " if len(self._items) > 1 else ""
            length = max(len(values), 1)
            for start, end in stretches(len(values), share):
                rate = column.steps_per_second
                where = f"steps {start + 1} to {end}" if rate is None else f"{start / rate:.3g} to {end / rate:.3g} s"
                box = (start / length, 0.0, end / length, 1.0)
                self.places.append(Place(item=item, name=f"{which}{where}", box=box))
                self._ranges.append((item, start, end))

    def without(self, removed: Collection[int]) -> tuple[object, list[np.ndarray]]:
        items = dict(enumerate(self._items))
        for part in removed:
            item, start, end = self._ranges[part]
            if items[item] is self._items[item]:
                items[item] = self._items[item].copy()
            items[item][start:end] = np.nan
        return self._cell, list(items.values())

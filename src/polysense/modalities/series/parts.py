"""A series in parts: stretches of steps. A removed stretch was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import StretchParts
from polysense.core.geometry import Placement
from polysense.core.modality_spec import FittedColumn
from polysense.modalities.series.record import SeriesColumn

__all__ = ["SeriesParts", "series_parts"]


def series_parts(
    fitted: FittedColumn,
    cell: object,
    root: Path,
    items: Sequence[np.ndarray],
    most: int,
    placement: Placement | None = None,
) -> SeriesParts:
    """The stretches of a cell's series; see `core.modality_spec.MakeParts`."""
    return SeriesParts(cell, items, SeriesColumn.of(fitted.column), most)


class SeriesParts(StretchParts):
    """The stretches of one series, or of several."""

    removed, blank, noun = "not measured", np.nan, "series"

    def __init__(self, cell: object, items: Sequence[np.ndarray], column: SeriesColumn, most: int) -> None:
        self._rate = column.steps_per_second
        super().__init__(cell, items, most)

    def named(self, start: int, end: int) -> str:
        """In seconds where a clock stands beside them, else in steps."""
        rate = self._rate
        return f"steps {start + 1} to {end}" if rate is None else f"{start / rate:.3g} to {end / rate:.3g} s"

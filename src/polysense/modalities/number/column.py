"""Numbers: read as people write them, centered and scaled robustly.

The center is the median and the scale the interquartile range / 1.349 (the standard deviation, were the values
normal): one mistyped value of a million does not squeeze all others together, as it does with mean and deviation.
Where a quarter of the values or more are equal on both sides the range is 0 and the standard deviation stands in.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.modality_spec import parts
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig, ColumnProcessor, TrainingCells
from polysense.data.media.media import short
from polysense.data.values.notation import Notation, NotationEvidence
from polysense.errors import DecodeError
from polysense.modalities.number.record import NumberColumn, NumberRequirements

__all__ = ["NumberColumnConfig", "NumberProcessor"]

_log = get_logger("polysense.data.columns")

_NUM_SAMPLED = 50_000  # the median of as many is known to 0.6% of the scale
_FEWEST = 10  # numbers, of which one outlier is not half
_FAR = 5.0  # scales: half of the values lie where there was hardly one


@dataclass(frozen=True, kw_only=True)
class NumberColumnConfig(ColumnConfig):
    """A number, such as an age or a price.

    Attributes:
        scaling: How the values are brought to a common scale. robust by median and interquartile range, standard by
            mean and standard deviation, none leaves them as they are.
        decimal: The decimal mark, a point or a comma; auto takes the one that the training cells tell.
        missing: Numbers that stand for a missing value, such as -999. Nothing is taken for one unasked; what may be one
            is warned of.
    """

    modality: ClassVar[str] = "number"
    type: Literal["number"] = "number"
    scaling: Literal["robust", "standard", "none"] = "robust"
    decimal: Literal["auto", ".", ","] = "auto"
    missing: tuple[float, ...] = ()

    def build(self, name: str) -> NumberProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return NumberProcessor(name, self)

    def notation(self, cells: Sequence[object]) -> Notation:
        """See `ColumnConfig`."""
        return NotationEvidence.of(cells, self.decimal, self.missing).notation


class NumberProcessor(ColumnProcessor):
    """Reads and scales numbers; each item is float32 [1], (x - center) / scale. No value is cut off.

    Attributes:
        notation: How the training cells write numbers.
    """

    config: NumberColumnConfig
    notation: Notation

    @property
    def column(self) -> NumberColumn:
        """See `ColumnProcessor`."""
        return NumberColumn.of(super().column)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> NumberColumn:
        requirements = NumberRequirements.of(requirements)
        evidence = NotationEvidence.of(cells.values(_NUM_SAMPLED), self.config.decimal, self.config.missing)
        self.notation, reading = evidence.notation, evidence.describe()
        setting = f"data.columns.{self.name}"
        self.warnings = tuple(evidence.warnings(f"set {setting}.decimal to '.' or ','", f"{setting}.missing"))
        if reading:
            _log.info("column %r: numbers, %s", self.name, reading)
        values = np.array(evidence.values)
        if not evidence.values or evidence.is_doubtful:
            result = cells.read(self.name, "numbers", lambda cell, _: self.notation.read(cell), _NUM_SAMPLED)
            values = np.array([number for number in result if number is not None])
        center, scale = _statistics(values, self.config.scaling)
        edges = None
        if requirements.num_quantiles is not None:
            with np.errstate(over="ignore"):
                edges = _edges((values - center) / scale, requirements.num_quantiles)
        return NumberColumn(
            name=self.name,
            mean=center,
            std=scale,
            quantiles=edges,
            reading=reading,
        )

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        column = self.column
        number = self.notation.read(value)
        if number is None:
            return None
        scaled = (number - column.mean) / column.std
        if not abs(scaled) < 3e38:
            raise DecodeError(f"found {short(value)}, which is too far from the training values to be scaled")
        return np.array([scaled], dtype=np.float32)

    def is_missing(self, cell: object) -> bool:
        if isinstance(cell, str) and self.notation.is_missing(cell):
            return True
        return self.notation.reads_none(cell) if self.notation.missing else cell is None

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        number, notation = float(value), self.notation
        if not math.isfinite(number):
            return None
        if notation.decimals is None:
            number = float(f"{number:.7g}")  # what a float32 knows
            text = str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
        else:
            text = f"{number:.{notation.decimals}f}"
            text = text.removeprefix("-") if float(text) == 0 else text
        if spelled:
            return notation.written.format(text.replace(".", ",") if notation.decimal == "," else text)
        return float(text) if "." in text or "e" in text else int(text)

    def unfamiliar(self, cells: Iterable[object]) -> str | None:
        notation, numbers, total, bare = self.notation, array("d"), 0, 0
        for cell in cells:
            for part in parts(cell):
                total += 1
                try:
                    number = notation.read(part)
                except DecodeError:
                    continue  # listed when its row is read
                if number is not None:
                    numbers.append((number - self.column.mean) / self.column.std)
                    bare += bool(notation.unit) and not notation.has_unit(part)
        remarks = []
        if bare and not notation.bare:
            remarks.append(f"{bare:,} of {total:,} cells have no unit and are read as {notation.unit}")
        if len(numbers) >= _FEWEST:
            with np.errstate(over="ignore"):
                shift = self.shift([np.array(numbers)])
            remarks += [] if shift is None else [shift]
        return "; ".join(remarks) or None

    def shift(self, items: Sequence[np.ndarray]) -> str | None:
        middle = float(np.median(np.stack(list(items))))
        if abs(middle) <= _FAR:
            return None
        return (
            f"its numbers lie {abs(middle):.1f} scales away from those that its encoder was trained on; is it another "
            f"unit?"
        )

    def conflict(self, cells: Sequence[object]) -> str | None:
        here, fitted = NotationEvidence.of(cells).notation, self.notation
        if here.decimal and fitted.decimal and here.decimal != fitted.decimal:
            return f"its decimal mark is {fitted.decimal!r} there and {here.decimal!r} here"
        if here.unit != fitted.unit:
            return f"its unit is {fitted.unit or 'not given'} there and {here.unit or 'not given'} here"
        return None

    def _state(self, folder: Path) -> dict[str, Any]:
        return {"notation": self.notation.plain()}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.notation = Notation.restored(state["notation"])


def _statistics(values: np.ndarray, scaling: str) -> tuple[float, float]:
    """(center, scale), finite, the scale positive."""
    if scaling == "none" or not len(values):
        return 0.0, 1.0
    # Values up to 1e308 would overflow in differences and squares: in units of the largest they can't.
    unit = max(1.0, float(np.abs(values).max()))
    values = values / unit
    if scaling == "standard":
        center, scale = float(values.mean()), float(values.std())
    else:
        low, center, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        scale = (high - low) / 1.349 or float(values.std())
    scale *= unit
    return center * unit, scale if scale > 0 and math.isfinite(scale) else 1.0


def _edges(values: np.ndarray, num_bins: int) -> tuple[float, ...]:
    """The edges of at most `num_bins` bins of equal shares, ascending, at least two.

    A value that is so frequent that bins would have no width gives fewer bins; so does what float32 can't tell apart.
    """
    if not len(values):
        return 0.0, 1.0
    clipped = np.clip(values, -1e38, 1e38)  # so that a bin's width, too, is a float32
    edges = [float(edge) for edge in np.quantile(clipped, np.linspace(0.0, 1.0, num_bins + 1))]
    retained = edges[:1]
    for edge in edges[1:]:
        if edge - retained[-1] > 1e-6 * max(1.0, abs(edge)):
            retained.append(edge)
    return tuple(retained) if len(retained) > 1 else (retained[0], retained[0] + max(1.0, abs(retained[0])))

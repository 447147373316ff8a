"""Numbers: read as people write them, centred and scaled robustly.

The centre is the median and the scale the interquartile range / 1.349 (the standard deviation, were the values
normal): one mistyped value of a million does not squeeze all others together, as it does with mean and deviation.
Where a quarter of the values or more are equal on both sides the range is 0 and the standard deviation stands in.

Which of comma and point is the decimal mark is settled for the column, not for the cell: "1,234" alone could be either,
but in a column that also holds "0,5" it is 1.234.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polysense.core.modality import Modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column, Requirements
from polysense.data.cells import MISSING
from polysense.data.column import ColumnConfig, ColumnProcessor, TrainingCells
from polysense.data.kinds import is_number
from polysense.data.media import short
from polysense.errors import DecodeError

__all__ = ["NumberColumnConfig", "NumberProcessor", "decimal_mark", "parse_number"]

_NUM_SAMPLED = 50_000  # the median of as many is known to 0.6% of the scale
_MOST_DECIMALS = 6
_NOISE = re.compile(r"[\s'%]")
# A mark that can't stand before thousands: not followed by exactly three digits, or preceded by a bare 0 or nothing.
_DECIMAL = re.compile(r"(?:\d([.,])(?:\d{0,2}|\d{4,})(?!\d)|(?<![\d.,])0?([.,])\d+)(?:[eE]|$)")


def decimal_mark(values: Iterable[object]) -> Literal[".", ","] | None:
    """The decimal mark of a column's texts; None if nothing tells, or both occur."""
    marks: set[str] = set()
    for value in values:
        if isinstance(value, str) and ("," in value or "." in value) and is_number(value):
            text = _NOISE.sub("", value).lstrip("+-−")
            found = _DECIMAL.search(text)
            if found:
                marks.add(found[1] or found[2])
            elif "," in text and "." in text:
                marks.add(text[max(text.rfind(","), text.rfind("."))])
    return marks.pop() if len(marks) == 1 else None  # type: ignore[return-value]


def parse_number(value: object, mark: Literal[".", ","] | None = None) -> float | None:
    """A number as people write it: "1,5", "1 000", "1.234,5", "50%" (50), "1e3", True (1).

    Args:
        value: A cell.
        mark: The column's decimal mark. Without it the last mark is the decimal one, unless it stands several times or
            is a comma before exactly three digits ("1,234").

    Returns:
        A finite float; None if the cell is missing.

    Raises:
        DecodeError: It is not a number, or not a finite one.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str) and value.strip() in MISSING:
        return None
    if isinstance(value, list) and len(value) == 1:
        return parse_number(value[0], mark)
    if not is_number(value):
        raise DecodeError(f"found {short(value)}, expected a number")
    try:
        number = _spelled(value, mark) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        raise DecodeError(f"found {short(value)}, expected a number that a float can hold") from None
    if not math.isfinite(number):
        raise DecodeError(f"found {short(value)}, expected a finite number")
    return number


def _spelled(value: str, mark: Literal[".", ","] | None) -> float:
    text = _NOISE.sub("", value).replace("−", "-")
    if mark is None:
        last = max(text.rfind("."), text.rfind(","))
        mark = "," if last >= 0 and text[last] == "," else "."
        other = "." if mark == "," else ","
        before_thousands = mark == "," and other not in text and re.search(r"[1-9]\d*,\d{3}(?:[eE]|$)", text)
        if text.count(mark) > 1 or before_thousands:
            mark = "." if mark == "," else ","
    text = text.replace("." if mark == "," else ",", "")
    return float(text.replace(mark, "."))


@dataclass(frozen=True, kw_only=True)
class NumberColumnConfig(ColumnConfig):
    """A number, such as an age or a price.

    Attributes:
        scaling: How the values are brought to a common scale. robust by median and interquartile range, standard by
            mean and standard deviation, none leaves them as they are.
    """

    type: Literal["number"] = "number"
    scaling: Literal["robust", "standard", "none"] = "robust"

    def build(self, name: str) -> NumberProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return NumberProcessor(name, self)


class NumberProcessor(ColumnProcessor):
    """Reads and scales numbers; each item is float32 [1], (x - centre) / scale. No value is cut off.

    Attributes:
        mark: The column's decimal mark; None where nothing tells.
        decimals: Digits after it in the training cells at most; None where there are more than a float32 knows.
    """

    config: NumberColumnConfig
    _modality = Modality.NUMBER

    def __init__(self, name: str, config: NumberColumnConfig) -> None:
        super().__init__(name, config)
        self.mark: Literal[".", ","] | None = None
        self.decimals: int | None = None

    def _fit(self, guess: Column, cells: TrainingCells, root: Path, requirements: Requirements) -> Column:
        self.mark = decimal_mark(item for item, _ in cells.items(_NUM_SAMPLED))
        found = cells.read(self.name, "numbers", lambda cell, _: parse_number(cell, self.mark), _NUM_SAMPLED)
        values = np.array([number for number in found if number is not None])
        self.decimals = _decimals((item for item, _ in cells.items(_NUM_SAMPLED)), self.mark)
        centre, scale = _statistics(values, self.config.scaling)
        edges = None
        if requirements.num_quantiles is not None:
            with np.errstate(over="ignore"):
                edges = _edges((values - centre) / scale, requirements.num_quantiles)
        return guess.replace(mean=(centre,), std=(scale,), quantiles=edges)

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        column = self.column
        assert column.mean is not None
        assert column.std is not None
        number = parse_number(value, self.mark)
        if number is None:
            return None
        scaled = (number - column.mean[0]) / column.std[0]
        if not abs(scaled) < 3e38:
            raise DecodeError(f"found {short(value)}, which is too far from the training values to be scaled")
        return np.array([scaled], dtype=np.float32)

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        number = float(value)
        if not math.isfinite(number):
            return None
        if self.decimals is None:
            number = float(f"{number:.7g}")  # what a float32 knows
            text = str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
        else:
            text = f"{number:.{self.decimals}f}"
            text = text.removeprefix("-") if float(text) == 0 else text
        if spelled:
            return text.replace(".", ",") if self.mark == "," else text
        return float(text) if "." in text or "e" in text else int(text)

    def _state(self, folder: Path) -> dict[str, Any]:
        return {"mark": self.mark, "decimals": self.decimals}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.mark = state["mark"]
        self.decimals = state.get("decimals")


def _decimals(values: Iterable[object], mark: Literal[".", ","] | None) -> int | None:
    """The most digits after the decimal mark; None if a cell has more than a written measurement has."""
    most = 0
    for value in values:
        try:
            number = parse_number(value, mark)
        except DecodeError:
            continue
        if number is None or number.is_integer():  # "1,234" may be a thousand and more
            continue
        text = _NOISE.sub("", value) if isinstance(value, str) else repr(number)
        digits = len(text) - 1 - max(text.rfind("."), text.rfind(","))
        if digits > _MOST_DECIMALS or "e" in text.lower():
            return None
        most = max(most, digits)
    return most


def _statistics(values: np.ndarray, scaling: str) -> tuple[float, float]:
    """(centre, scale), finite, the scale positive."""
    if scaling == "none" or not len(values):
        return 0.0, 1.0
    # Values up to 1e308 would overflow in differences and squares: in units of the largest they can't.
    unit = max(1.0, float(np.abs(values).max()))
    values = values / unit
    if scaling == "standard":
        centre, scale = float(values.mean()), float(values.std())
    else:
        low, centre, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        scale = (high - low) / 1.349 or float(values.std())
    scale *= unit
    return centre * unit, scale if scale > 0 and math.isfinite(scale) else 1.0


def _edges(values: np.ndarray, num_bins: int) -> tuple[float, ...]:
    """The edges of at most `num_bins` bins of equal shares, ascending, at least two.

    A value that is so frequent that bins would have no width gives fewer bins; so does what float32 can't tell apart.
    """
    if not len(values):
        return 0.0, 1.0
    held = np.clip(values, -1e38, 1e38)  # so that a bin's width, too, is a float32
    edges = [float(edge) for edge in np.quantile(held, np.linspace(0.0, 1.0, num_bins + 1))]
    kept = edges[:1]
    for edge in edges[1:]:
        if edge - kept[-1] > 1e-6 * max(1.0, abs(edge)):
            kept.append(edge)
    return tuple(kept) if len(kept) > 1 else (kept[0], kept[0] + max(1.0, abs(kept[0])))

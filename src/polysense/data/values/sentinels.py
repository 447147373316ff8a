"""Numbers that stand for a missing value: -999, 9999, 99999, the largest integer of a type.

Nothing in a single cell tells such a mark from a measurement, its column does: the mark recurs, and it lies apart from
all other numbers. What looks like one (all nines, a limit of integers) has to lie half a range away, any other number
three ranges, and to recur more than its neighbors do; so does the only negative number of a column. The rule only
asks. A limit of a scale ("99,999 or more") looks the same, so no value is changed until the recipe names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Sentinels", "is_any_of", "is_one_of"]

_FEWEST_OTHERS = 10  # numbers, whose range says what is far
_NUM_OUTER = 8  # distinct numbers at each end that are looked at
_NUM_TOGETHER = 4  # as the codes 96, 97, 98, 99 of a survey
_NUM_STRAY = 3  # single typing errors that may lie beyond a mark
_TRIM = 0.005  # of the others, at each end, that a range leaves out
_APART, _FAR_APART = 0.5, 3.0  # ranges
_CLOSE = 0.25  # of the distance to the others, within which 97 and 98 lie beside 99
_RECURS, _RECURS_MUCH = 3, 5  # rows
_ABOVE_NEIGHBORS = 3  # times as frequent as the numbers nearest to it
_NUM_NEIGHBORS = 3
_STEPS = 5  # from the least number to the next, in usual ones
_SAME = 1e-6  # 999.9 as float32 is 999.90002

_NINES = re.compile(r"9{2,}(?:\.9+)?|9\.99+|8{3,}|7{3,}")
_LIMITS = (
    32_767.0, 32_768.0, 65_535.0, 2.0**31 - 1, 2.0**31, 2.0**32 - 1, 2.0**63, 2.0**64, 999.25, 1e20, 1e30, 1e36,
    9.969209968386869e36, 3.4028234663852886e38, 1e300,
)  # fmt: skip


def is_one_of(number: float, marks: Sequence[float]) -> bool:
    """Whether a number is one of some, to six digits."""
    return any(math.isclose(number, mark, rel_tol=_SAME) for mark in marks)


def is_any_of(numbers: np.ndarray, marks: Sequence[float]) -> np.ndarray:
    """Likewise for an array: bool, of its shape."""
    result: np.ndarray = np.logical_or.reduce([np.isclose(numbers, mark, rtol=_SAME, atol=0.0) for mark in marks])
    return result


class Sentinels(NamedTuple):
    """The numbers of a column that may stand for a missing value.

    Attributes:
        counts: Per number its cells, the most frequent first; empty if there is none.
        low: The least of all other numbers.
        high: The largest.
    """

    counts: dict[float, int]
    low: float
    high: float

    @staticmethod
    def of(numbers: Sequence[float] | np.ndarray) -> Sentinels:
        """Looks for them.

        Args:
            numbers: A column's or a channel's, finite.
        """
        distinct, counts = np.unique(np.asarray(numbers, dtype=np.float64), return_counts=True)
        marks = _marks(distinct, counts) if len(numbers) > _FEWEST_OTHERS and len(distinct) > 2 else {}
        others = distinct[~np.isin(distinct, list(marks))]
        low, high = (float(others[0]), float(others[-1])) if len(others) else (0.0, 0.0)
        return Sentinels(dict(sorted(marks.items(), key=lambda pair: -pair[1])), low, high)

    def describe(self, total: int) -> str:
        """For a reason: "12 of 200 are -999, far from all others: a mark for missing?"."""
        listed = " and ".join(f"{count:,} of {total:,} are {number:.10g}" for number, count in self.counts.items())
        return f"{listed}, far from all others: a mark for missing?"

    def warning(self, total: int, setting: str) -> str:
        """What to do about them.

        Args:
            total: Cells that were looked at.
            setting: The recipe's key that names them.
        """
        listed = " and ".join(f"{number:.10g} ({count:,} of {total:,})" for number, count in self.counts.items())
        one = len(self.counts) == 1
        return (
            f"{listed} {'lies' if one else 'lie'} far outside the others, which reach from {self.low:.6g} to "
            f"{self.high:.6g}, and {'is' if one else 'are'} read as {'a number' if one else 'numbers'}; if "
            f"{'it stands' if one else 'they stand'} for a missing value, {self.remedy(setting)}"
        )

    def remedy(self, setting: str) -> str:
        """What makes them missing."""
        return f"set {setting}=[{', '.join(f'{number:.10g}' for number in self.counts)}]"


def _marks(distinct: np.ndarray, counts: np.ndarray) -> dict[float, int]:
    """The marks among sorted distinct numbers, and how often each stands."""
    num = len(distinct)
    outer = [i for i in range(num) if i < _NUM_OUTER or i >= num - _NUM_OUTER]
    coded = np.zeros(num, dtype=bool)
    for i in outer:
        coded[i] = counts[i] > 1 and _looks_like_a_mark(float(distinct[i]), distinct)
    core = distinct[~coded]
    if len(core) < 2 or int(counts[~coded].sum()) < _FEWEST_OTHERS:
        return {}
    marks: dict[float, int] = {}
    for order in (range(num), range(num - 1, -1, -1)):
        marks |= _at_end(list(order)[: _NUM_OUTER + _NUM_STRAY], distinct, counts, coded)
    return marks or _only_negative(distinct, counts)


def _at_end(ends: list[int], distinct: np.ndarray, counts: np.ndarray, coded: np.ndarray) -> dict[float, int]:
    """The marks at one end of the numbers, whose positions come from the outermost inward."""
    strays = 0
    while strays < min(_NUM_STRAY, len(ends) - 2) and counts[ends[strays]] == 1:
        strays += 1
    for start in {0, strays} if coded.any() else ():
        for num in range(min(_NUM_TOGETHER, len(ends) - start - 1), 0, -1):
            chosen, following = ends[start : start + num], ends[start + num]
            if coded[following] or not coded[chosen].any():
                continue
            gap = abs(float(distinct[chosen[-1]]) - float(distinct[following]))
            extent = abs(float(distinct[chosen[-1]]) - float(distinct[chosen[0]]))
            if not coded[chosen].all() and extent > _CLOSE * gap:
                continue
            width = _width(distinct, counts, coded | np.isin(np.arange(len(distinct)), ends[: start + num]))
            fewest = _RECURS if gap < _FAR_APART * width else _RECURS - 1
            # A number below zero beside others that are not needs no distance, if it looks like a mark.
            is_below = distinct[chosen[-1]] <= -90 and distinct[following] >= 0
            if (gap >= _APART * width or is_below) and counts[chosen].min() >= fewest:
                return {float(distinct[i]): int(counts[i]) for i in chosen}
    outermost, following = ends[0], ends[1]
    value = float(distinct[outermost])
    if value == 0 or len(distinct) <= _FEWEST_OTHERS or not _stands_out(outermost, ends[1:], counts):
        return {}
    width = _width(distinct, counts, coded | (distinct == distinct[outermost]))
    is_far = abs(value - float(distinct[following])) >= _FAR_APART * width > 0
    return {value: int(counts[outermost])} if is_far else {}


def _only_negative(distinct: np.ndarray, counts: np.ndarray) -> dict[float, int]:
    """The one number below zero, where it recurs and the others begin at zero: -1 for "never"."""
    if not distinct[0] < 0 <= distinct[1] or len(distinct) <= _FEWEST_OTHERS:
        return {}
    is_apart = counts[0] >= _RECURS_MUCH and distinct[1] - distinct[0] >= _STEPS * np.median(np.diff(distinct[1:]))
    stands_out = is_apart or _stands_out(0, range(1, len(distinct)), counts)
    return {float(distinct[0]): int(counts[0])} if stands_out else {}


def _stands_out(position: int, inward: Sequence[int], counts: np.ndarray) -> bool:
    """Whether a number is much more frequent than those next to it."""
    neighbors = max(int(counts[i]) for i in inward[:_NUM_NEIGHBORS])
    return int(counts[position]) >= max(_RECURS_MUCH, _ABOVE_NEIGHBORS * neighbors)


def _width(distinct: np.ndarray, counts: np.ndarray, left_out: np.ndarray) -> float:
    """The range of the numbers that are not left out, without the outermost of them."""
    numbers, cumulated = distinct[~left_out], np.cumsum(counts[~left_out])
    if not len(numbers):
        return math.inf
    low, high = np.searchsorted(cumulated, [_TRIM * cumulated[-1], (1 - _TRIM) * cumulated[-1]])
    with np.errstate(over="ignore"):
        return float(numbers[high] - numbers[low]) or float(numbers[-1] - numbers[0])


def _looks_like_a_mark(number: float, distinct: np.ndarray) -> bool:
    if is_one_of(abs(number), _LIMITS):
        return True
    if _NINES.fullmatch(f"{abs(number):.7g}") is None:
        return False
    if number.is_integer():
        return True
    # Where prices end in .99, 99.99 is one of them.
    alike = np.isclose(np.abs(distinct) % 1.0, abs(number) % 1.0, atol=1e-4).sum()
    return bool(alike <= max(2, 0.1 * len(distinct)))

"""Columns of texts that spell numbers as Python does ("12", "-0.5"): read four times as fast as cell by cell.

Nearly all columns of numbers are such. Whatever else stands in one cell (a unit, a comma, a word) leaves the whole
column to `data.values.notation`, whose result is the same where both can read it.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["PlainNumbers"]

_LINES = re.compile(r"(?:[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?\n)+")


@dataclass(frozen=True, kw_only=True)
class PlainNumbers:
    """A column's numbers.

    Attributes:
        values: One for each text.
        num_decimals: How many texts have how many digits after a point that can be no mark between thousands.
        unclear: Texts in which it could be one ("1.234").
    """

    values: Sequence[float]
    num_decimals: Mapping[int, int]
    unclear: Sequence[str]

    @staticmethod
    def of(texts: Sequence[str]) -> PlainNumbers | None:
        """Reads a column.

        Args:
            texts: Its cells, without spaces around.

        Returns:
            None if a text is spelled otherwise, or if no text tells what the point of the unclear ones is.
        """
        return PlainNumbers.of_parts([texts])

    @staticmethod
    def of_parts(parts: Iterable[Sequence[str]]) -> PlainNumbers | None:
        """Reads a column whose cells come in parts, as `of` reads them all."""
        read: PlainNumbers | None = None
        for texts in parts:
            part = PlainNumbers._of_part(texts)
            if part is None:
                return None
            read = part if read is None else read._with(part)
        return None if read is None or (read.unclear and not read.num_decimals) else read

    def _with(self, other: PlainNumbers) -> PlainNumbers:
        values = self.values if isinstance(self.values, array) else array("d", self.values)
        values.extend(other.values)
        return PlainNumbers(
            values=values,
            num_decimals=Counter(self.num_decimals) + Counter(other.num_decimals),
            unclear=[*self.unclear, *other.unclear],
        )

    @staticmethod
    def _of_part(texts: Sequence[str]) -> PlainNumbers | None:
        lines = "\n".join([*texts, ""])
        if lines.count("\n") > len(texts) or _LINES.fullmatch(lines) is None:
            return None
        num_decimals, unclear = Counter[int](), []
        for text in texts:
            whole, point, decimals = text.partition(".")
            if len(decimals) == 3 and len(digits := whole.lstrip("+-")) <= 3 and digits[0] != "0":
                unclear.append(text)
            elif point:
                num_decimals[len(decimals)] += 1
        return PlainNumbers(values=[*map(float, texts)], num_decimals=num_decimals, unclear=unclear)

"""A column's notation of numbers: its decimal mark, the mark between its thousands, its unit, its marks for missing.

No cell tells all of that: "1,234" is 1.234 beside "0,5", and 1234 beside "99.50". So the notation is learned once, from
the training cells, with the evidence counted, and is part of the fitted preprocessing. A cell of a later table that
only one notation can spell ("2,50" where training had "2.50") is read as what it says. What could be either, and what
is in another unit than the training cells, is refused with the reason: another number would be worse than none.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from polysense.data.media.media import short
from polysense.data.values.numbers import MARKS, Spelled, known_unit, spell
from polysense.data.values.plain_numbers import PlainNumbers
from polysense.data.values.sentinels import Sentinels, is_one_of
from polysense.errors import DecodeError

__all__ = ["DecimalMark", "Notation", "NotationEvidence"]

DecimalMark = Literal[".", ","]

_RATIOS = ("%", "\u2030")
_MOST_ABSENT = 3  # distinct words that stand for a missing number, beside the well-known ones
_MOST_DECIMALS = 6  # more than a measurement has
_CLEAR = 0.9
_AT_ONCE = 100_000  # texts
_LARGEST = 1e300  # of Python's integers, which know no limit
_MANY = 20  # fractions, of which none has another number of decimals by chance


@dataclass(frozen=True, kw_only=True)
class Notation:
    """How a column writes its numbers.

    Attributes:
        decimal: Its decimal mark; None where nothing tells.
        groups: The marks (comma, point) that stand between its thousands.
        thousandths: Whether exactly three digits may follow its decimal mark. Not where the cells have two, as prices
            do: "1.234" in another table may then be a thousand and more.
        unit: The unit or currency of its cells; "" if they have none.
        scaled: Whether k, M and B after the digits are factors, since the column has several of them.
        bare: Whether training cells lack the unit here and there.
        absent: Words that stand for missing cells in this column, beside the well-known ones.
        missing: Numbers that do, as the recipe says.
        written: How a number stands in a cell: "${}", "{} kg".
        decimals: Digits after the decimal mark at most; None if a cell has more than a written measurement has.
    """

    decimal: DecimalMark | None = None
    groups: str = ""
    thousandths: bool = False
    unit: str = ""
    scaled: bool = False
    bare: bool = False
    absent: tuple[str, ...] = ()
    missing: tuple[float, ...] = ()
    written: str = "{}"
    decimals: int | None = 0

    @staticmethod
    def restored(plain: Mapping[str, Any]) -> Notation:
        """Rebuilds what `plain` gave."""
        return Notation(**{**plain, "absent": tuple(plain["absent"]), "missing": tuple(plain["missing"])})

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return dataclasses.asdict(self)

    def is_missing(self, text: str) -> bool:
        """Whether a text is a word for a missing number."""
        text = text.strip()
        return text.casefold() in MARKS or text in self.absent

    def reads_none(self, value: object) -> bool:
        """Whether a cell is missing, or read as such; what can't be read is not."""
        try:
            return self.read(value) is None
        except DecodeError:
            return False

    def read(self, value: object) -> float | None:
        """A cell as a number.

        Args:
            value: A number, a boolean, a text, or a list of one of them.

        Returns:
            A finite float in the column's unit; None if the cell is missing.

        Raises:
            DecodeError: It is no number, not a finite one, in another unit, or can be read in two ways.
        """
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or (isinstance(value, float) and value != value):
            return None
        if isinstance(value, str):
            if self.is_missing(value):
                return None
            return self._finite(self._spelled(value), value)
        if not isinstance(value, (int, float)):
            raise DecodeError(f"found {short(value)}, expected a number")
        if self.unit in _RATIOS:
            raise DecodeError(f"found {short(value)}, expected a number with {self.unit}, as the training cells are")
        try:
            return self._finite(float(value), value)
        except OverflowError:
            raise DecodeError(f"found {short(value)}, expected a number that a float can hold") from None

    def _spelled(self, text: str) -> float:
        spelled = spell(text)
        if spelled is None:
            unit = f" in {self.unit}" if self.unit else ""
            raise DecodeError(f"found {short(text)}, expected a number{unit}")
        if spelled.bound:
            what = "finite number" if spelled.point is None and spelled.comma is None else "number"
            raise DecodeError(
                f"found {short(text)}, expected a {what}: a limit does not say which value lies beyond it, so the cell "
                f"counts as missing"
            )
        unit = self.unit_of(spelled)
        if unit != self.unit and (unit or self.unit in _RATIOS):
            expected = (
                f"with {self.unit}" if self.unit in _RATIOS else f"in {self.unit}" if self.unit else "without unit"
            )
            raise DecodeError(f"found {short(text)}, expected a number {expected}, as the training cells are")
        value = self.value(spelled)
        if value is None:
            raise DecodeError(
                f"found {short(text)}, which can be read as {spelled.point:g} or as {spelled.comma:g}, and no training "
                f"cell is written so; expected a number without a mark between thousands, or the column's decimal set"
            )
        return value

    def _finite(self, number: float, value: object) -> float | None:
        if not math.isfinite(number):
            raise DecodeError(f"found {short(value)}, expected a finite number that a float can hold")
        return None if self.missing and is_one_of(number, self.missing) else number

    def unit_of(self, spelled: Spelled) -> str:
        """The unit of a number; a letter (k, M) is one where it is no factor."""
        return spelled.unit if self.scaled else spelled.letter + spelled.unit

    def has_unit(self, cell: object) -> bool:
        """Whether a cell states its unit."""
        spelled = spell(cell) if isinstance(cell, str) else None
        return spelled is not None and self.unit_of(spelled) != ""

    def value(self, spelled: Spelled) -> float | None:
        """Which number is meant; None if it can be read in two ways, and nothing tells which."""
        factor = spelled.factor if self.scaled else 1.0
        if not spelled.mark:
            value = spelled.comma if spelled.point is None else spelled.point
            return None if value is None else value * factor
        assert spelled.point is not None
        assert spelled.comma is not None
        if spelled.mark in self.groups:
            return (spelled.comma if spelled.mark == "." else spelled.point) * factor
        if spelled.mark == self.decimal and self.thousandths:
            return (spelled.point if spelled.mark == "." else spelled.comma) * factor
        return None


@dataclass(frozen=True, kw_only=True)
class NotationEvidence:
    """A column's notation, and what it was told from.

    Attributes:
        notation: The notation.
        values: The numbers that its cells are, finite, in order.
        num_cells: Cells that were looked at.
        marks: Words for a missing number, and how many cells have each.
        bounds: Cells that are limits ("<0.5", inf), as they stand.
        others: Cells in other units, per unit.
        unclear: Cells that could be read in two ways by themselves, as they stand.
        settled: What decided about those: "cells" of the column, "stated", "convention" or "nothing".
        rest: Cells that are no numbers.
    """

    notation: Notation
    values: Sequence[float]
    num_cells: int
    marks: Mapping[str, int] = field(default_factory=dict)
    bounds: Sequence[str] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    unclear: Sequence[str] = ()
    settled: Literal["cells", "stated", "convention", "nothing"] = "cells"
    rest: int = 0

    @property
    def num_marks(self) -> int:
        """Cells that say that there is no number."""
        return sum(self.marks.values())

    @property
    def num_numeric(self) -> int:
        """Cells that belong in a column of numbers."""
        return self.num_cells - self.rest

    @property
    def is_doubtful(self) -> bool:
        """Whether some cells are neither numbers nor missing as they are read."""
        return len(self.values) + self.num_marks < self.num_cells

    @property
    def is_numeric(self) -> bool:
        """Whether this is a column of numbers: nearly all cells belong in one, and there are numbers among them."""
        known = self.num_cells - self.num_marks
        return self.num_numeric >= _CLEAR * self.num_cells and len(self.values) >= max(1, 0.3 * known)

    def describe(self) -> str:
        """For a reason: the unit, what is missing and how it is marked; "" where there is nothing to say."""
        total, notation = max(self.num_cells, 1), self.notation
        parts = [f"in {notation.unit}"] if notation.unit else []
        if notation.groups or notation.decimal == ",":
            names = {",": "comma", ".": "point"}
            decimal = [f"decimal {names[notation.decimal]}"] if notation.decimal else []
            parts.append(", ".join([*decimal, *(f"{names[mark]} between thousands" for mark in notation.groups)]))
        if self.num_marks:
            listed = ", ".join(f"{mark!r} in {count / total:.0%}" for mark, count in list(self.marks.items())[:3])
            parts.append(f"{(total - self.num_marks - self.rest) / total:.0%} numbers, {listed}, which is missing")
        if self.sentinels.counts:
            parts.append(self.sentinels.describe(total))
        if self.bounds:
            parts.append(f"{len(self.bounds):,} of {total:,} beyond a limit such as {self.bounds[0]!r}")
        if self.others:
            parts.append(f"{sum(self.others.values()):,} of {total:,} in another unit ({', '.join(self.others)})")
        return "; ".join(parts)

    @cached_property
    def sentinels(self) -> Sentinels:
        """The numbers that may stand for a missing value."""
        return Sentinels.of(self.values)

    def warnings(self, remedy: str, missing: str | None = None) -> list[str]:
        """What may be read otherwise than it was meant, or loses its meaning.

        Args:
            remedy: What settles how cells are read that can be read in two ways ("set ... to '.' or ','").
            missing: The recipe's key that names numbers for missing values; None: nothing is said of them.
        """
        results, notation = [], self.notation
        if self.sentinels.counts and missing is not None:
            results.append(self.sentinels.warning(self.num_cells, missing))
        if self.unclear and self.settled in ("convention", "nothing"):
            example = self.unclear[0]
            spelled = spell(example)
            assert spelled is not None
            value = notation.value(spelled)
            how = "are unreadable" if value is None else f"are read as {value:,.10g}"
            results.append(
                f"cells such as {example!r} ({len(self.unclear):,} of {self.num_cells:,}) can be read in two ways, as "
                f"{spelled.point:,.10g} or as {spelled.comma:,.10g}, and {how}; to settle it, {remedy}"
            )
        if self.others:
            listed = ", ".join(f"{count:,} in {unit}" for unit, count in self.others.items())
            most = f"in {notation.unit}" if notation.unit else "without a unit"
            results.append(f"most cells are {most}, but {listed}: those are unreadable; bring all to one unit")
        if self.bounds:
            results.append(
                f"cells such as {self.bounds[0]!r} ({len(self.bounds):,} of {self.num_cells:,}) are limits that a "
                f"value lies beyond: they count as missing, and what they say is lost; to keep it, add a column "
                f"for it"
            )
        return results

    @staticmethod
    def of(
        cells: Iterable[object], decimal: Literal["auto", ".", ","] = "auto", missing: Sequence[float] = ()
    ) -> NotationEvidence:
        """Learns a column's notation.

        Args:
            cells: Its cells, or their items.
            decimal: Its decimal mark, where that is stated.
            missing: Numbers that stand for missing cells.
        """
        cells = cells if isinstance(cells, Sequence) else [*cells]
        if decimal == "auto" and not missing and (plain := _of_plain(cells)) is not None:
            return plain
        typed, texts, marks, bounds = [], [], Counter[str](), list[str]()
        spellings: list[tuple[str, Spelled]] = []
        # Most columns have bare numbers, of which nothing more is to be learned: a third of the time of all others.
        is_bare = True
        for cell in cells:
            if isinstance(cell, str):
                text = cell.strip()
                if (spelled := spell(text)) is not None:  # no mark spells a number
                    spellings.append((text, spelled))
                    is_bare = is_bare and not (spelled.unit or spelled.letter or spelled.bound)
                elif text.casefold() in MARKS:
                    marks[text] += 1
                else:
                    texts.append(text)
            elif cell is None or (isinstance(cell, float) and cell != cell):
                continue
            elif isinstance(cell, (int, float)) and abs(cell) < math.inf:
                if missing and is_one_of(_as_float(cell), missing):
                    marks[f"{cell:.10g}"] += 1
                    continue
                typed.append(_as_float(cell))
            elif isinstance(cell, float):
                bounds.append(str(cell))
            else:
                texts.append("")
        notation, settled = _style(typed, spellings, decimal)
        notation, others = (notation, frozenset[str]()) if is_bare else _units(notation, len(typed), spellings)
        num_cells = len(typed) + len(texts) + sum(marks.values()) + len(bounds) + len(spellings)
        absent = _absent(texts, num_cells)
        values, bare, unclear, rest = list(typed), False, [], len(texts) - sum(absent.values())
        units: Counter[str] = Counter()
        if is_bare and not missing:
            unclear = [text for text, spelled in spellings if spelled.mark]
            numbers = [notation.value(spelled) for _, spelled in spellings]
            values += [number for number in numbers if number is not None and math.isfinite(number)]
        for text, spelled in () if is_bare and not missing else spellings:
            unit = notation.unit_of(spelled)
            if spelled.bound:
                bounds.append(text)
            elif unit == notation.unit or (not unit and notation.unit not in _RATIOS):
                if spelled.mark:
                    unclear.append(text)
                value = notation.value(spelled)
                if missing and value is not None and is_one_of(value, missing):
                    marks[text] += 1
                elif value is not None and math.isfinite(value):
                    values.append(value)
                bare = bare or unit != notation.unit
            elif unit in others:
                units[unit or "no unit"] += 1
            else:
                rest += 1
        if typed and notation.unit in _RATIOS:
            units["no unit"] += len(typed)
            values = values[len(typed) :]
        return NotationEvidence(
            notation=dataclasses.replace(
                notation,
                absent=tuple(absent),
                missing=tuple(missing),
                bare=bare,
                decimals=_decimals(typed, spellings),
            ),
            values=values,
            num_cells=num_cells,
            marks=dict((marks + absent).most_common()),
            bounds=tuple(bounds),
            others=dict(units.most_common()),
            unclear=unclear,
            settled=settled,
            rest=rest,
        )


def _of_plain(cells: Sequence[object]) -> NotationEvidence | None:
    """The evidence of texts that all spell numbers as Python does, and tell what their point is; else None."""
    try:
        numbers = PlainNumbers.of_parts(_texts(cells))
    except _NoTextError:
        return None
    if numbers is None or not numbers.values:
        return None
    # A point that may stand between thousands is a decimal mark where others can be nothing else.
    notation = Notation(
        decimal="." if numbers.num_decimals else None,
        thousandths=bool(numbers.unclear) or not _are_fixed(numbers.num_decimals),
        decimals=_at_most(max(numbers.num_decimals, default=0)),
    )
    return NotationEvidence(
        notation=notation, values=numbers.values, num_cells=len(numbers.values), unclear=numbers.unclear
    )


class _NoTextError(Exception):
    """A cell is neither a text nor missing."""


def _texts(cells: Sequence[object]) -> Iterator[list[str]]:
    """The texts of cells that hold nothing else, trimmed; those of a long column in parts."""
    for start in range(0, len(cells), _AT_ONCE):
        part = cells[start : start + _AT_ONCE]
        texts = [cell.strip() for cell in part if isinstance(cell, str)]
        if len(texts) + part.count(None) < len(part):
            raise _NoTextError
        if texts:
            yield texts


def _as_float(cell: int | float) -> float:
    return float(cell) if abs(cell) < _LARGEST else _LARGEST if cell > 0 else -_LARGEST


_Settled = Literal["cells", "stated", "convention", "nothing"]


def _style(
    typed: Sequence[float], spellings: Sequence[tuple[str, Spelled]], stated: Literal["auto", ".", ","]
) -> tuple[Notation, _Settled]:
    """The marks of a column, and what tells them."""
    point, comma, open_ = list[Spelled](), list[Spelled](), Counter[str]()
    for _, spelled in spellings:
        if spelled.mark:
            open_[spelled.mark] += 1
        elif spelled.comma is None and spelled.point is not None:
            point.append(spelled)
        elif spelled.point is None and spelled.comma is not None:
            comma.append(spelled)
    fractions = any(not value.is_integer() for value in typed)
    thousandths = fractions or not _is_fixed([*point, *comma])
    groups = {spelled.groups for spelled in (*point, *comma) if spelled.groups}
    settled: _Settled = "cells"
    decimal: DecimalMark | None
    if stated != "auto":
        decimal, settled, thousandths, groups = stated, "stated", True, groups | ({",", "."} - {stated})
    elif point or comma:
        share = len(point) / (len(point) + len(comma))
        decimal = "." if share >= _CLEAR else "," if share <= 1 - _CLEAR else None
        settled = "nothing" if decimal is None else "cells"
    elif fractions:
        decimal = "."
    elif len(open_) != 1:
        decimal, settled = None, "nothing" if open_ else "cells"
    else:
        # Thousands above a thousand, and bare integers only below: so no decimals are written, but thousands.
        bare = [*typed, *(abs(spelled.point or 0.0) for _, spelled in spellings if not spelled.mark)]
        is_grouped = bool(bare) and max(bare) < 1000
        mark = next(iter(open_))
        decimal = "," if mark == "." and is_grouped else "."
        settled = "cells" if is_grouped else "convention"
    if decimal is not None:
        groups |= {mark for mark in open_ if mark != decimal}
        thousandths = thousandths or decimal in open_
    return Notation(decimal=decimal, groups="".join(sorted(groups)), thousandths=thousandths), settled


def _is_fixed(spellings: Sequence[Spelled]) -> bool:
    """Whether all fractions have the same one or two decimals, as a format gives them."""
    return _are_fixed(Counter(spelled.num_decimals for spelled in spellings if spelled.num_decimals))


def _are_fixed(num_decimals: Mapping[int, int]) -> bool:
    return len(num_decimals) == 1 and max(num_decimals) < 3 and sum(num_decimals.values()) >= _MANY


def _units(
    notation: Notation, num_typed: int, spellings: Sequence[tuple[str, Spelled]]
) -> tuple[Notation, frozenset[str]]:
    """The notation with the column's unit, and the other units that some cells have."""
    notation = dataclasses.replace(notation, scaled=len({spelled.letter for _, spelled in spellings}) > 1)
    counts = Counter(notation.unit_of(spelled) for _, spelled in spellings)
    bare = counts.pop("", 0) + num_typed
    known = {unit: count for unit, count in counts.items() if known_unit(unit)}
    unit, most = counts.most_common(1)[0] if counts else ("", 0)
    if unit not in known and most < _CLEAR * sum(counts.values()):  # any words: "12 Monkeys", "300 Spartans"
        unit, most = max(known.items(), key=lambda item: item[1], default=("", 0))
    if most < bare:
        unit = ""
    written = Counter(spelled.written for _, spelled in spellings if notation.unit_of(spelled) == unit)
    pattern = written.most_common(1)[0][0] if written else "{}"
    others = frozenset(known) | {""} if unit in _RATIOS else frozenset(known)
    return dataclasses.replace(notation, unit=unit, written=pattern), others - {unit}


def _absent(texts: Sequence[str], num_cells: int) -> Counter[str]:
    """The few words that recur among numbers, and so stand for cells without one."""
    counts = Counter(texts)
    if not 0 < len(counts) <= _MOST_ABSENT or len(texts) > num_cells / 2:
        return Counter()
    recur = min(counts.values()) >= max(2, 0.01 * num_cells)
    are_words = all(0 < len(text) <= 20 and not any(map(str.isdigit, text)) for text in counts)
    return counts if recur and are_words else Counter()


def _decimals(typed: Sequence[float], spellings: Sequence[tuple[str, Spelled]]) -> int | None:
    most = max((spelled.num_decimals for _, spelled in spellings if not spelled.mark), default=0)
    for value in typed:
        if not value.is_integer():
            text = repr(value)
            most = max(most, 99 if "e" in text else len(text.partition(".")[2]))
    return _at_most(most)


def _at_most(num_decimals: int) -> int | None:
    return num_decimals if num_decimals <= _MOST_DECIMALS else None

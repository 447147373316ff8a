"""What is known of one column before anything is guessed: its cells, its distinct values, the words of its name.

At most 1,000 cells are looked at one by one, chosen by a fixed permutation; of a table of more than 400 columns fewer
of each, and never fewer than 100. Distinct values, range and what is missing are counted over all rows, which polars
does in milliseconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from polysense.core.file_spec import Content, FileSpec
from polysense.core.modality_spec import Profile
from polysense.core.random import permutation
from polysense.core.registry import modalities
from polysense.core.role import Role
from polysense.data.media.download import is_url
from polysense.data.media.media import is_there, locate
from polysense.data.media.paths import is_out_of_reach
from polysense.data.media.sniff import file_kind, is_code, kind_of_bytes
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.column_names import name_words
from polysense.data.roles.row_numbers import INDEX_NAMES, is_named_index, numbers_rows
from polysense.data.tables.sources import Table
from polysense.data.values.category_key import category_key, num_categories
from polysense.data.values.cells import clean
from polysense.data.values.notation import DecimalMark, Notation, NotationEvidence
from polysense.data.values.numbers import is_number
from polysense.errors import DecodeError

__all__ = [
    "SAMPLE",
    "Cause",
    "ColumnGuess",
    "ColumnProfile",
    "are_codes",
    "are_numbers",
    "format_number",
    "num_words",
    "quote",
    "read_numbers",
]

SAMPLE = 1_000
_MOST_SAMPLED, _FEWEST_SAMPLED = 400_000, 100  # cells of a table in all, and of a column even so
_SAMPLE_MARKS = 200  # cells of each other column, for its decimal mark
_LOOKED_INTO = 8  # files whose containers are opened
_ID_NAMES = {"id", "ids", "uuid", "guid", "key", "pk", "hash", "md5", "sha1", "sha256"}
_GROUP_NAMES = {
    "patient", "subject", "participant", "user", "person", "customer", "speaker", "session", "dialogue", "dialog",
    "conversation", "case", "study", "group", "author", "writer", "donor",
}  # fmt: skip
_CODE_NAMES = {"class", "label", "category", "cat", "type", "kind", "code", "cls", "grade", "id", "ids"}
_COUNT_NAMES = {"num", "n", "count", "number", "total"}
_MAJORITY = 0.9  # of the cells that are numbers, or texts
_CODES = 0.8  # likewise of texts that are codes
_MAX_CATEGORIES = 1_000
_MAX_CODED_CLASSES = 20  # an integer target with more values than this is a quantity, unless its name says otherwise
_PHONE = re.compile(r"(?:\+|\(?0|\()[1-9][\d ()/.-]{5,18}\d")
_PHONE_DIGITS = 7
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class Cause(StrEnum):
    """Why a column is better no input."""

    EMPTY = "all its cells are missing"
    CONSTANT = "all its cells are one value"
    SPLIT_MARK = "it marks how rows were split"
    ROW_NUMBER = "it numbers the rows"
    IDENTIFIER = "it names things"
    LEAK = "it gives a target away"


@dataclass(frozen=True, kw_only=True)
class ColumnGuess:
    """What a column is taken for, and why.

    Attributes:
        name: The column's name.
        role: What it is used for.
        modality: What its cells are (inputs; also set for what is recognized but not supported yet).
        task: What kind of output it is (targets).
        multiple: Whether a cell holds a list of items.
        delimiter: What separates the labels of a multilabel target that is one text; None if cells are lists.
        over: The input column that the target lies in (tagging); None if that is not told by its cells.
        column: The table's column, where it has another name.
        settings: Further settings of its config, that the table as a whole tells.
        num_missing: Rows whose cell is missing, words for that which its modality knows counted.
        groups: Whether an automatic split keeps its values whole although it is an input: it names persons.
        reason: One sentence with the evidence.
        warnings: What should be known before a model reads the column, or why none does.
        cause: Why it is better no input, where that has a name; it is one nevertheless where the user says so.
        leaks: Those of the warnings that say that some of its cells may give a target away.
    """

    name: str
    role: Role
    modality: str | None = None
    task: str | None = None
    multiple: bool = False
    delimiter: str | None = None
    over: str | None = None
    column: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    num_missing: int = 0
    groups: bool = False
    reason: str
    warnings: tuple[str, ...] = ()
    cause: Cause | None = None
    leaks: tuple[str, ...] = ()


class ColumnProfile(Profile):
    """Facts about one column of a table; each is looked up at most once.

    Attributes:
        table: The table.
        literal: Whether "NA" and its like are values (targets) and not missing (inputs).
        series: The column over all rows, missing cells null.
        positions: Where `cells` stand in the table, and cells that are missing after all.
    """

    def __init__(self, table: Table, name: str, literal: bool) -> None:
        self.table, self.literal, self._name = table, literal, name
        self.series = cleaned(table, name, literal)
        present = np.flatnonzero(self.series.is_not_null().to_numpy())
        sample = max(_FEWEST_SAMPLED, min(SAMPLE, _MOST_SAMPLED // max(1, table.width)))
        chosen = np.sort(present[_sampled(len(present), sample)])
        self.positions = chosen.tolist()
        cells = table.some_cells(chosen, name, literal=literal)
        self._cells = [cell for cell in cells if cell is not None]
        self.notation = _settled(table, name, self._cells)
        _PLAIN.setdefault(table, {})[name] = _is_plain(self.notation.notation)
        if self.notation.is_numeric and self.notation.marks and not self._are_named():
            self._without_marks(set(self.notation.marks))
        self._why_content: dict[str, str] = {}
        self._words = name_words(name)

    def _are_named(self) -> bool:
        """Whether numbers name things, beside which a word such as "unknown" is one more: flags, and classes."""
        values = set(self.notation.values)
        if self.literal:
            return len(values) <= _MAX_CODED_CLASSES and all(value.is_integer() for value in values)
        return len(values) <= 2

    def _without_marks(self, marks: Collection[str]) -> None:
        """Takes what marks a missing number in a column of numbers for missing."""
        self._cells = [cell for cell in self._cells if not (isinstance(cell, str) and cell.strip() in marks)]
        if self.series.dtype == pl.String:
            self.series = self.series.set(self.series.is_in(list(marks)), None)

    @property
    def name(self) -> str:
        """See `Profile`, as of all below."""
        return self._name

    @property
    def words(self) -> frozenset[str]:
        return frozenset(self._words)

    @property
    def last_word(self) -> str:
        return self._words[-1] if self._words else ""

    @property
    def root(self) -> Path:
        return self.table.root_of(self._name)

    @property
    def cells(self) -> list[object]:
        return self._cells

    @cached_property
    def items(self) -> list[object]:
        parts = (cell if isinstance(cell, list) else [cell] for cell in self.cells)
        return [item for part in parts for item in part if item is not None]

    @cached_property
    def texts(self) -> list[str]:
        return [cell for cell in self.cells if isinstance(cell, str)]

    @cached_property
    def are_lists(self) -> bool:
        return bool(self.cells) and sum(isinstance(cell, list) for cell in self.cells) >= 0.5 * len(self.cells)

    @property
    def num_rows(self) -> int:
        return len(self.table)

    @cached_property
    def num_present(self) -> int:
        return self.num_rows - self.series.null_count()

    def num_missing(self, modality: str | None) -> int:
        """Rows whose cell is missing if the column is of a modality, its words for that counted; None: of no one's."""
        missing = self.num_rows - self.num_present
        if modality is None or self.series.dtype != pl.String or self.num_numbers == len(self._cells):
            return missing
        words = [text for text in set(self.texts) if modalities()[modality].is_missing(text)]
        return missing + (int(self.series.is_in(words).sum()) if words else 0)

    @cached_property
    def file_shares(self) -> Mapping[str, float]:
        counts = Counter(kind for kind in map(file_kind, self.items) if kind is not None)
        if not counts and not self.are_lists:
            counts = self._files_by_content()
        for name in [*counts]:
            content = self._content(name)
            if content.modality != name:
                moved = counts.pop(name)
                if content.modality is not None:
                    counts[content.modality] += moved
                    self._why_content[content.modality] = content.why
        return {name: count / max(1, len(self.items)) for name, count in counts.items()}

    def _content(self, name: str) -> Content:
        """Whose most of a modality's files are by what they hold, of 8 looked into."""
        spec = modalities()[name]
        if not isinstance(spec, FileSpec) or self.are_remote:
            return Content(name)
        items = [item for item in self.items if file_kind(item) == name][:_LOOKED_INTO]
        contents = Counter(spec.content(item, self.root) for item in items)
        return contents.most_common(1)[0][0] if contents else Content(name)

    def _files_by_content(self) -> Counter[str]:
        """Paths without an extension that name files: told by the files' first bytes, of 20 at most."""
        texts = [text for text in self.texts if " " not in text.strip() and len(text) < 256]
        if len(texts) < len(self.cells) or not any(c in text for text in texts[:20] for c in "/\\"):
            return Counter()
        kinds: Counter[str] = Counter()
        looked_at = texts[:20]
        for text in looked_at:
            try:
                kind = kind_of_bytes(locate(text, self.root, "media").read(16))
            except DecodeError:
                continue
            if kind is not None:
                kinds[kind] += 1
        return Counter({kind: len(texts) * count // len(looked_at) for kind, count in kinds.items()})

    @cached_property
    def are_remote(self) -> bool:
        paths = [item for item in self.items if isinstance(item, str)]
        return sum(is_out_of_reach(self.root, path) for path in paths) > 0.5 * len(paths)

    def files(self, kind: str) -> str:
        listed = "lists of " if self.are_lists else ""
        paths = [item for item in self.items if isinstance(item, str)]
        content = (
            f"paths such as {quote(paths[0])}{self._existing(paths)}" if paths else f"{kind} files held in the table"
        )
        if why := self._why_content.get(kind):
            content += f"; {why}"
        missing = self.num_rows - self.num_present
        return f"{listed}{content}, " + (f"{missing:,} of {self.num_rows:,} missing" if missing else "none missing")

    def _existing(self, paths: list[str]) -> str:
        """For a reason: whether the files are there; a sample of 20."""
        looked_for = paths[:20]
        num_there = sum(is_there(path, self.root) for path in looked_for)
        if num_there == len(looked_for):
            return ""
        where = "on the web" if all(map(is_url, looked_for)) else f"in the folder {self.root.name!r}"
        return f" ({num_there or 'none'} of {len(looked_for)} looked for {where} is there)"

    @cached_property
    def num_numbers(self) -> int:
        if self.notation.is_numeric:
            return self.notation.num_numeric - self.notation.num_marks
        return sum(map(is_number, self.cells))

    @property
    def numbers(self) -> str:
        return self.notation.describe()

    @property
    def decimal_mark(self) -> str | None:
        return self.notation.notation.decimal if self.notation.settled == "stated" else None

    @cached_property
    def mean_words(self) -> float:
        return float(np.mean([num_words(text) for text in self.texts])) if self.texts else 0.0

    @cached_property
    def recurs(self) -> bool:
        distinct, words = self.num_distinct(), self.mean_words
        per_value = self.num_present / max(1, distinct)
        return distinct <= _MAX_CATEGORIES and (
            (per_value >= 10 and words <= 6)
            or (per_value >= 5 and distinct <= 50 and words <= 6)
            or (per_value >= 2 and distinct <= 10 and words <= 4)
            or (per_value >= 50 and distinct <= 20)
        )

    @cached_property
    def is_index(self) -> bool:
        if self.num_numbers < _MAJORITY * len(self.cells):
            return False
        if is_named_index(self.name, self.table.positions[self.name]):
            return self.range_of_numbers()[2]
        return self.num_distinct() == self.num_present >= 10 and (
            bool(self.words & (_ID_NAMES | INDEX_NAMES)) or numbers_rows(self._numbers(), self.name)
        )

    def _numbers(self) -> np.ndarray:
        """The cells that are there as float64, in the rows' order; what is spelled oddly is NaN."""
        return self.series.drop_nulls().cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()

    @cached_property
    def code(self) -> str | None:
        if self.texts and sum(map(_is_phone, self.texts)) >= _CODES * len(self.cells):
            return f"phone numbers such as {quote(self.texts[0])}"
        if self.num_numbers >= _MAJORITY * len(self.cells):
            if all(isinstance(cell, bool) for cell in self.cells):
                return None
            if any(re.match(r"0\d", text.strip()) for text in self.texts):
                return "digits with leading zeros"  # "007" is a code; as a number it would become 7
            low, high, is_whole = self.range_of_numbers()
            named = self.last_word in _ID_NAMES or (self.last_word in _GROUP_NAMES and not self.words & _COUNT_NAMES)
            return f"integers {low} to {high}" if is_whole and not self.is_index and named else None
        if len(self.texts) < _MAJORITY * len(self.cells):
            return None
        are_codes = sum(map(is_code, self.texts)) >= _CODES * len(self.texts)
        is_named = self.last_word in _ID_NAMES
        return f"codes such as {quote(self.texts[0])}" if are_codes and (not self.recurs or is_named) else None

    def num_distinct(self) -> int:
        return self._num_distinct

    @cached_property
    def _num_distinct(self) -> int:
        if self.series.dtype != pl.String:
            values = self.series.drop_nulls().unique()
            if not self.literal or values.dtype.is_nested() or values.dtype == pl.Binary:
                return len(values)
            return len({category_key(value) for value in values.to_list()} - {None})
        return num_categories(self.series)  # as classes and categories are told apart

    def counts(self) -> str:
        missing = self.num_rows - self.num_present
        return f"{self.num_distinct():,} distinct values in {self.num_present:,} rows" + (
            f" ({missing:,} missing)" if missing else ""
        )

    def example(self) -> str:
        if self.are_lists or not self.texts or self.num_distinct() <= 1:
            return quote(self.items[0])
        short = self.mean_words < 4
        return quote(max(self.texts[:20], key=len) if short else self.texts[0])

    def range_of_numbers(self) -> tuple[str, str, bool]:
        """Of the cells looked at if some are spelled oddly."""
        return self._range_of_numbers

    @cached_property
    def _range_of_numbers(self) -> tuple[str, str, bool]:
        notation, series = self.notation.notation, self.series.drop_nulls()
        is_plain = series.dtype != pl.String or (not notation.groups and notation.decimal != "," and not notation.unit)
        numbers = series.cast(pl.Float64, strict=False) if is_plain else None
        if numbers is not None and not numbers.is_null().any() and numbers.is_finite().all():
            values = numbers.to_numpy()
        else:
            values = np.array(self.notation.values, dtype=np.float64)
        if not len(values):
            return "none", "none", False
        return format_number(values.min()), format_number(values.max()), bool(np.all(values == np.round(values)))


_PLAIN: WeakKeyDictionary[Table, dict[str, bool]] = WeakKeyDictionary()
"""Whether columns that were looked at write numbers as Python does."""

_MARKS: WeakKeyDictionary[Table, Mapping[str, DecimalMark]] = WeakKeyDictionary()


def other_marks(table: Table) -> Mapping[str, DecimalMark]:
    """Per text column the decimal mark that the rest of its table settles: the other columns, where they agree, else
    semicolons between the fields, which are written where the comma is taken."""
    if table not in _MARKS:
        texts = [name for name, kind in table.schema.items() if kind == pl.String]
        marks: dict[str, DecimalMark] = {}
        commas = set()
        for name in texts:
            cells = [clean(value) for value in table.column(name).drop_nulls().head(_SAMPLE_MARKS).to_list()]
            evidence = NotationEvidence.of(cells)
            decimal = evidence.notation.decimal
            if evidence.is_numeric and evidence.settled == "cells" and decimal is not None and not evidence.unclear:
                marks[name] = decimal
            elif evidence.is_numeric and any("," in cell for cell in evidence.unclear):
                commas.add(name)
        result: dict[str, DecimalMark] = {}
        counts = Counter(marks.values())
        for name in texts:
            others = {mark for mark, count in counts.items() if count > (marks.get(name) == mark)}
            if len(others) == 1:
                result[name] = others.pop()
            elif not others and table.delimiter == ";" and commas:
                result[name] = ","
        _MARKS[table] = result
    return _MARKS[table]


def _is_phone(text: str) -> bool:
    text = text.strip()
    return _PHONE.fullmatch(text) is not None and sum(map(str.isdigit, text)) >= _PHONE_DIGITS


def are_numbers(evidence: ColumnProfile) -> bool:
    """Whether all cells are numbers or spell one, whatever their unit; a bool is none."""
    notation = evidence.notation
    return notation.is_numeric and not notation.rest and not any(isinstance(cell, bool) for cell in evidence.cells)


def are_codes(evidence: ColumnProfile) -> bool:
    """Whether integers are names of classes: they are few, or the column is called so and each has several rows."""
    distinct = evidence.num_distinct()
    named = bool(evidence.words & _CODE_NAMES)
    return distinct <= _MAX_CODED_CLASSES or (named and evidence.num_present >= 2 * distinct)


@lru_cache(maxsize=8)
def _sampled(num: int, most: int) -> np.ndarray:
    return permutation(num, "infer")[:most].copy()  # a part would keep the whole


def read_numbers(table: Table, column: pl.Series) -> np.ndarray:
    """A column of a table as numbers, float64, NaN where a cell is missing or is none."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    is_plain = _PLAIN.get(table, {}).get(column.name)
    if is_plain is None:
        sample = column.drop_nulls().head(_SAMPLE_MARKS).to_list()
        is_plain = _is_plain(_settled(table, column.name, sample).notation)
    if is_plain and column.dtype == pl.String:
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.null_count() == column.null_count():  # a hundred times as fast
            return numbers.fill_null(np.nan).to_numpy()
    cells = column.to_list()
    notation = _settled(table, column.name, cells).notation
    return np.array([_number(notation, cell) for cell in cells], dtype=np.float64)


def _is_plain(notation: Notation) -> bool:
    """Whether numbers are written as Python writes them, where they have no unit."""
    return notation.decimal != "," and not notation.groups


def _settled(table: Table, name: str, cells: Sequence[object]) -> NotationEvidence:
    """A column's notation, with the decimal mark that the rest of the table has where its own cells leave it open."""
    evidence = NotationEvidence.of(cells)
    if evidence.unclear and evidence.settled in ("convention", "nothing"):
        mark = other_marks(table).get(name)
        return evidence if mark is None else NotationEvidence.of(cells, mark)
    return evidence


def _number(notation: Notation, cell: object) -> float:
    try:
        number = notation.read(cell)
    except DecodeError:
        return np.nan
    return np.nan if number is None else number


def quote(value: object) -> str:
    """A cell for a reason: in quotation marks, on one line, at most 50 characters."""
    text = " ".join(value.split()) if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 50 else text[:47] + "...")


def format_number(value: float) -> str:
    """A number for a reason: 12,345, 36.6 or inf."""
    return f"{value:,.0f}" if abs(value) < 1e15 and value == round(value) else f"{value:.4g}"


def num_words(text: str) -> int:
    """Words; where a script has no spaces between them, about two characters are one."""
    return max(len(text.split()), len(_SPACELESS.findall(text)) // 2)

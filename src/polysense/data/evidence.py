"""What is known of one column before anything is guessed: its cells, its distinct values, the words of its name.

At most 1,000 cells are looked at one by one, chosen by a fixed permutation. Distinct values, range and what is missing
are counted over all rows, which polars does in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from polysense.core.modality import Modality, Role, Task
from polysense.core.random import permutation
from polysense.data.cells import MISSING
from polysense.data.sources import Table
from polysense.errors import DecodeError
from polysense.modalities.number.column import decimal_mark, parse_number

__all__ = ["SAMPLE", "ColumnGuess", "Evidence", "cleaned", "format_number", "num_words", "quote", "read_numbers"]

SAMPLE = 1_000
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, kw_only=True)
class ColumnGuess:
    """What a column is taken for, and why.

    Attributes:
        name: The column's name.
        role: What it is used for.
        modality: What its cells are (inputs; also set for what is recognised but not supported yet).
        task: What kind of output it is (targets).
        multiple: Whether a cell holds a list of items.
        delimiter: What separates the labels of a multilabel target that is one text; None if cells are lists.
        over: The input column that the target lies in (tagging); None if that is not told by its cells.
        column: The table's column, where it has another name.
        frames: Pictures that each video of an image column is taken as; None where there are no videos.
        reason: One sentence with the evidence.
    """

    name: str
    role: Role
    modality: Modality | None = None
    task: Task | None = None
    multiple: bool = False
    delimiter: str | None = None
    over: str | None = None
    column: str | None = None
    frames: int | None = None
    reason: str


class Evidence:
    """Facts about one column of a table.

    Attributes:
        table: The table.
        name: The column's name.
        series: All rows, missing cells null.
        cells: Up to 1,000 cells that are not missing, in the table's order.
        positions: Where they stand in the table, and cells that are missing after all.
        num_rows: Rows of the table.
        num_present: Rows whose cell is not missing.
        words: The words in the column's name, lower-case ("classID" has class and id).
        last_word: The last word of the name.
    """

    def __init__(self, table: Table, name: str, literal: bool) -> None:
        self.table, self.name, self.literal = table, name, literal
        self.series = cleaned(table, name, literal)
        self.num_rows = len(table)
        self.num_present = self.num_rows - self.series.null_count()
        present = np.flatnonzero(self.series.is_not_null().to_numpy())
        chosen = np.sort(present[permutation(len(present), "infer")[:SAMPLE]])
        self.positions = chosen.tolist()
        cells = [table.cell(int(i), name, literal=literal) for i in chosen]
        self.cells = [cell for cell in cells if cell is not None]
        words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
        self.words = set(words)
        self.last_word = words[-1] if words else ""

    @property
    def are_lists(self) -> bool:
        """Whether the cells are lists."""
        return bool(self.cells) and sum(isinstance(cell, list) for cell in self.cells) >= 0.5 * len(self.cells)

    def num_distinct(self) -> int:
        """Distinct values in all rows, missing aside."""
        return int(self.series.drop_nulls().n_unique())

    def counts(self) -> str:
        """For a reason: how many values in how many rows."""
        missing = self.num_rows - self.num_present
        return f"{self.num_distinct():,} distinct values in {self.num_present:,} rows" + (
            f" ({missing:,} missing)" if missing else ""
        )

    def range_of_numbers(self) -> tuple[str, str, bool]:
        """Lowest and highest number, and whether all are integers; of the cells looked at if some are spelled oddly."""
        numbers = self.series.drop_nulls().cast(pl.Float64, strict=False)
        if not numbers.is_null().any() and numbers.is_finite().all():
            found = numbers.to_numpy()
        else:
            found = read_numbers(self.cells)
            found = found[np.isfinite(found)]
        return format_number(found.min()), format_number(found.max()), bool(np.all(found == np.round(found)))


def cleaned(table: Table, name: str, literal: bool) -> pl.Series:
    """A column with its missing cells null, for counting: texts trimmed, structures of inputs by position."""
    series = table.frame.get_column(name)
    if series.dtype == pl.String:
        text = series.str.strip_chars()
        missing = [""] if literal else [*MISSING, "[]"]
        return text.set(text.is_in(missing), None)
    if series.dtype.is_float():
        return series.fill_nan(None)
    if series.dtype.is_nested() and not literal:
        return pl.Series(
            name, [None if cell is None else str(i) for i, cell in enumerate(table.cells(name))], dtype=pl.String
        )
    return series


def read_numbers(cells: Sequence[object]) -> np.ndarray:
    """Cells as numbers, float64, NaN where a cell is missing or is none."""
    mark = decimal_mark(cells)
    numbers = []
    for cell in cells:
        try:
            number = parse_number(cell, mark)
        except DecodeError:
            number = None
        numbers.append(np.nan if number is None else number)
    return np.array(numbers, dtype=np.float64)


def quote(value: object) -> str:
    """A cell for a reason: in quotation marks, on one line, at most 50 characters."""
    text = " ".join(value.split()) if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 50 else text[:47] + "...")


def format_number(value: float) -> str:
    """A number for a reason: 12,345 or 36.6."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


def num_words(text: str) -> int:
    """Words; where a script has no spaces between them, about two characters are one."""
    return max(len(text.split()), len(_SPACELESS.findall(text)) // 2)

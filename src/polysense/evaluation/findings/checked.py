"""CheckedTable: what a check read of a table, once, so that every detector of findings looks at the same.

All rows stand one after another, whatever tables and parts of a split they are of. What costs nothing is known of
every row (what is missing, which cells are equal, numbers and categories); what has to be decoded is known of some
rows, which `ColumnRead.positions` names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int8

from polysense.core.modality_spec import ModalitySpec
from polysense.core.preview import CellPreview
from polysense.core.registry import modality
from polysense.core.role import Role
from polysense.core.sample import Unreadable
from polysense.core.task_spec import Answer
from polysense.data.joins.result import JoinResult
from polysense.data.roles.profile import ColumnGuess

__all__ = ["CheckedColumn", "CheckedTable", "CheckedTarget", "CleaningProposal", "ColumnRead", "Probabilities"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ColumnRead:
    """What was decoded of a column.

    Attributes:
        positions: Rows whose cell could be read, ascending.
        signatures: Of them, see `core.likeness`; zeros where a cell has none, None where the modality has none.
        features: Of them; None where nothing was made.
    """

    positions: Int[np.ndarray, " read"]
    signatures: Int8[np.ndarray, "read components"] | None = None
    features: Float32[np.ndarray, "read features"] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckedColumn:
    """An input column over all rows.

    Attributes:
        name: The input's.
        source: The table's column.
        modality: Of its cells.
        missing: Rows without a cell.
        keys: Equal where two rows have the same cell, by content; -1 where it is missing or not known.
        is_distinct: Cells that no two rows share by chance: a photograph, a sentence. A category is none, nor is "yes".
        numbers: By what they say of a cell (brightness, duration, value), NaN where it is not known.
        codes: For values of few kinds the kind of each row's, from 0, -1 where it is missing; else None.
        properties: Kinds that are no content, such as the format of a file, by what they say: codes as above, and
            their names.
        read: What was decoded; None of values.
        examples: Some cells as a person sees them, where a page is asked for.
    """

    name: str
    source: str
    modality: str
    missing: Bool[np.ndarray, " rows"]
    keys: Int[np.ndarray, " rows"]
    is_distinct: Bool[np.ndarray, " rows"]
    numbers: Mapping[str, Float[np.ndarray, " rows"]] = field(default_factory=dict)
    codes: Int[np.ndarray, " rows"] | None = None
    properties: Mapping[str, tuple[Int[np.ndarray, " rows"], Sequence[str]]] = field(default_factory=dict)
    read: ColumnRead | None = None
    examples: Sequence[CellPreview] = ()

    def property_counts(self) -> Mapping[str, Mapping[str, int]]:
        """Of each property how many cells have each of its kinds, the most frequent first."""
        result = {}
        for words, (codes, names) in self.properties.items():
            counts = np.bincount(codes[codes >= 0], minlength=len(names))
            order = np.argsort(-counts, kind="stable")
            result[words] = {names[place]: int(counts[place]) for place in order.tolist()}
        return result

    @property
    def spec(self) -> ModalitySpec:
        """Of its modality."""
        return modality(self.modality)

    @property
    def is_value(self) -> bool:
        """Whether a cell is one value and nothing more: then its number is its content, no property of it."""
        return self.spec.is_numeric or self.spec.is_discrete


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckedTarget:
    """A target over all rows.

    Attributes:
        name: The target's.
        columns: The table's columns that it is read from.
        answer: What its cells are.
        classes: Names; none where it has no classes.
        labels: Per row the class, -1 where it has none.
        values: Numbers, where it is one; else None.
        keys: Equal where two rows have the same answer, -1 where it is missing.
    """

    name: str
    columns: tuple[str, ...]
    answer: Answer
    classes: tuple[str, ...]
    labels: Int[np.ndarray, " rows"]
    values: Float[np.ndarray, " rows"] | None
    keys: Int[np.ndarray, " rows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CleaningProposal:
    """Cleanings that would change cells of an input or a target.

    Attributes:
        name: The input's or the target's.
        column: The table's column that it is read from.
        is_target: Which of the two.
        types: The cleanings, in order.
        changes: Per cleaning that changes cells: its name, how many, and one before and after.
        positions: The rows whose cells are changed.
        num_cells: Cells that were looked at.
    """

    name: str
    column: str
    is_target: bool
    types: tuple[str, ...]
    changes: tuple[tuple[str, int, str, str], ...]
    positions: Int[np.ndarray, " changed"]
    num_cells: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Probabilities:
    """Class probabilities by models that had not seen the rows.

    Attributes:
        positions: The rows.
        values: Of each class of the target.
        words: Which models, for messages: "a linear model, out of fold".
    """

    positions: Int[np.ndarray, " known"]
    values: Float[np.ndarray, "known classes"]
    words: str


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckedTable:
    """What detectors look at.

    Attributes:
        name: The table's.
        parts: Names of the split's parts, in order; one, "all", where nothing was split.
        part_of: Per row the position in `parts`, -1 for rows in none.
        row_numbers: Per row its number in its own table.
        tables: Per part the name of its own table; None where its rows are the checked table's.
        is_drawn: Whether rows were put into parts at random, one by one, so that parts differ by chance alone.
        groups: By the name of a column whose values name what belongs together, per row which, -1 for none.
        clusters: Per row which group the split keeps whole, -1 for none; None where it keeps none.
        guesses: What each column is, and why.
        columns: The inputs that could be examined.
        targets: Likewise.
        probabilities: By target.
        unreadable: Cells that could not be read, of those tried, by the column of the table.
        joins: What was joined to it from other tables.
        proposals: Cleanings that would change cells and that nobody asked for yet.
        num_tried: Rows of which cells were decoded.
        seed: Of every draw.
    """

    name: str
    parts: tuple[str, ...]
    part_of: Int[np.ndarray, " rows"]
    row_numbers: Int[np.ndarray, " rows"]
    tables: tuple[str | None, ...]
    is_drawn: bool
    guesses: Sequence[ColumnGuess] = ()
    groups: Mapping[str, Int[np.ndarray, " rows"]] = field(default_factory=dict)
    clusters: Int[np.ndarray, " rows"] | None = None
    columns: Sequence[CheckedColumn] = ()
    targets: Sequence[CheckedTarget] = ()
    probabilities: Mapping[str, Probabilities] = field(default_factory=dict)
    unreadable: Sequence[Unreadable] = ()
    joins: Sequence[JoinResult] = ()
    proposals: Sequence[CleaningProposal] = ()
    num_tried: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.part_of)

    def in_part(self, name: str) -> Bool[np.ndarray, " rows"]:
        """The rows of a part; none where there is no such part."""
        return self.part_of == self.parts.index(name) if name in self.parts else np.zeros(len(self), dtype=bool)

    def rows(self, positions: np.ndarray) -> tuple[tuple[int, ...], str | None]:
        """Rows' own numbers for a finding, and whose they are where that is a table of its own."""
        owners = {self.tables[part] if part >= 0 else None for part in self.part_of[positions].tolist()}
        if len(owners) == 1:
            return tuple(self.row_numbers[positions].tolist()), owners.pop()
        own = [i for i in positions.tolist() if self.part_of[i] < 0 or self.tables[self.part_of[i]] is None]
        return tuple(self.row_numbers[own].tolist()), None

    def named(self, position: int) -> str:
        """A row in a message."""
        part = int(self.part_of[position])
        owner = self.tables[part] if part >= 0 else None
        number = f"{self.row_numbers[position]:,}"
        return number if owner is None else f"{owner}: {number}"

    def role_of(self, column: str) -> Role | None:
        """What a column of the table is used for."""
        return next((guess.role for guess in self.guesses if guess.name == column), None)

"""What a model knows of a table: one Column per input, one Target per output.

A Column starts as a guess (inference) or a statement (recipe), and is completed when preprocessing is fitted on the
training split: vocabulary size, sample rate, image size, lengths. Encoders and heads are built from it alone, so
`nn` never touches data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Column", "Requirements", "Schema", "Target"]


C = TypeVar("C", bound="Column")
T = TypeVar("T", bound="Target")
R = TypeVar("R", bound="Requirements")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input column; each modality's record adds what its encoders are built from.

    Attributes:
        name: The column's name, in the table too unless `source` says otherwise.
        modality: The name of its modality.
        source: The table's column that it is read from; "": the one of its name.
        multiple: Whether a cell holds a list of items (several images, a dialogue's turns, a video's frames).
        max_items: Items in the longest cell seen at fitting; 1 unless `multiple`.
        typical_length: The 95th percentile of an item's length at fitting, in its own units (tokens, samples). It sets
            the scale of the length buckets used at prediction; it never cuts anything.
        num_features: Size of the feature vector that preprocessing makes of a cell, without weights; 0 = none.
    """

    name: str
    modality: str
    source: str = ""
    multiple: bool = False
    max_items: int = 1
    typical_length: int = 1
    num_features: int = 0

    @classmethod
    def of(cls: type[C], column: Column) -> C:
        """The column as a record of this class; an encoder's `check` has seen to its modality before."""
        assert isinstance(column, cls), (
            f"column {column.name!r}: found {type(column).__name__}, expected {cls.__name__}"
        )
        return column

    @property
    def table_column(self) -> str:
        """The table's column that its cells stand in."""
        return self.source or self.name

    @property
    def longest(self) -> int | None:
        """Positions that its encoder takes at most, padding among them; None: any number."""
        return None

    @property
    def num_ids(self) -> int | None:
        """Ids that an item's values run over, from 0; None where they are quantities."""
        return None

    @property
    def rate(self) -> float | None:
        """Positions of an item in a second; None where items do not run in time."""
        return None


@dataclass(frozen=True, kw_only=True)
class Target:
    """One output; each task's record adds what its heads are built from.

    Attributes:
        name: The output's name; of its column, where it comes from one column.
        task: The name of its task.
        columns: The table's columns it is read from. One, unless a regression has several targets, or input columns
            are what it is about (`members`).
        num_rows: Training rows that have the target.
    """

    name: str
    task: str
    columns: tuple[str, ...]
    num_rows: int = 0

    @classmethod
    def of(cls: type[T], target: Target) -> T:
        """The target as a record of this class; a head's `check` has seen to its task before."""
        assert isinstance(target, cls), (
            f"target {target.name!r}: found {type(target).__name__}, expected {cls.__name__}"
        )
        return target

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that its predictions are chosen from, in id order; none where it is no choice."""
        return ()

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How often each of `classes` stands in the training rows, in the same order."""
        return ()

    @property
    def members(self) -> tuple[str, ...]:
        """The input columns that are its own truth; none where it is read from columns that are no inputs."""
        return ()

    @property
    def typical_prompt(self) -> int:
        """The 95th percentile of the training prompts' tokens; 0 where its predictions go on from no prompt."""
        return 0

    @property
    def padding_id(self) -> int:
        """What fills the padding of prompts."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The inputs and outputs of one model, in a fixed order."""

    columns: tuple[Column, ...]
    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        for kind, names in (("column", [c.name for c in self.columns]), ("target", [t.name for t in self.targets])):
            assert len(names) == len(set(names)), f"duplicate {kind} in {names}"

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The input columns' names."""
        return tuple(column.name for column in self.columns)

    def in_words(self, most: int = 12) -> str:
        """What is predicted from what: "photo (image), note (text) -> label (classification)".

        Args:
            most: Columns that are named.
        """
        columns = ", ".join(f"{column.name} ({column.modality})" for column in self.columns[:most])
        more = f" and {len(self.columns) - most} more" if len(self.columns) > most else ""
        targets = ", ".join(f"{target.name} ({target.task})" for target in self.targets)
        return f"{columns}{more} -> {targets or 'nothing'}"

    def column(self, name: str) -> Column:
        """The input column of that name."""
        return next(column for column in self.columns if column.name == name)

    def target(self, name: str) -> Target:
        """The output of that name."""
        return next(target for target in self.targets if target.name == name)


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What an encoder asks of its column's preprocessing, or a head of its target's: nothing.

    Each modality's or task's own subclass has fields, None where it stays "as fitted on the data".
    """

    @classmethod
    def of(cls: type[R], requirements: Requirements) -> R:
        """The requirements as a record of this class; where nothing is asked, its defaults."""
        if type(requirements) is Requirements:
            return cls()
        assert isinstance(requirements, cls), f"found {type(requirements).__name__}, expected {cls.__name__}"
        return requirements

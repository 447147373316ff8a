"""What a model knows of a table: one Column per input, one Target per output.

A Column starts as a guess (inference) or a statement (recipe), and is completed when preprocessing is fitted on the
training split: vocabulary size, sample rate, image size, lengths. Encoders and heads are built from it alone, so
`nn` never touches data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from polysense.core.modality import Task

__all__ = ["Column", "Requirements", "Schema", "Target"]


C = TypeVar("C", bound="Column")
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
    """

    name: str
    modality: str
    source: str = ""
    multiple: bool = False
    max_items: int = 1
    typical_length: int = 1

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
    def num_ids(self) -> int | None:
        """Ids that an item's values run over, from 0; None where they are quantities."""
        return None

    @property
    def rate(self) -> float | None:
        """Positions of an item in a second; None where items do not run in time."""
        return None


@dataclass(frozen=True, kw_only=True)
class Target:
    """One output.

    Attributes:
        name: The output's name; of its column, where it comes from one column.
        task: What kind of output.
        columns: The table's columns it is read from. One, unless a regression has several targets, or input columns
            are brought into one space (contrastive: `members`, and last the column of what counts as the same) or
            restored (reconstruction: `members`).
        classes: The class names in id order (classification, multilabel).
        class_counts: Training rows of each class, in the same order.
        num_rows: Training rows that have the target.
        mean: Per target column, the training mean (regression): predictions are in the table's own units.
        std: Per target column, the training standard deviation (regression).
        vocabulary_size: Token ids run over [0, vocabulary_size) (generation).
        padding_id: The token id that fills the padding (generation).
        begin_id: The token id that every text begins with (generation).
        end_id: The token id that every text ends with, unless it was cut (generation).
        start_id: The token id that a pretrained language model expects before anything else; None if nothing.
        typical_prompt: The 95th percentile of the training prompts' tokens; 0 where texts go on from no prompt.
        placeholders: The input columns that a prompt can name the place of. Their token ids are the last ones of the
            vocabulary, in this order; nobody writes them (generation).
        typical_length: The 95th percentile of the training texts' tokens, the end among them (generation).
        max_length: The tokens of the longest training text, the end among them (generation).
        most_frequent: The training text that occurs most often (generation).
        over: The input column in which segments lie (tagging).
        boundaries: Whether two segments of one class that touch are two, told apart by where they begin (BIO tags);
            else they are one (tagging).
        class_lengths: Per class, its segments' share of the training rows' length; the rest is in none (tagging).
        units_per_second: What a segment's start and end count where the column runs in time; 0: its steps or tokens
            (tagging).
        members: The input columns that share a space (contrastive), or that are restored (reconstruction).
        anchor: The one of them that each other is compared with; "" where every pair is (contrastive).
        answers: The only texts that may be written, each as token ids with the end token last; none: any text
            (generation).
    """

    name: str
    task: Task
    columns: tuple[str, ...]
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    num_rows: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    vocabulary_size: int = 0
    padding_id: int = 0
    begin_id: int = 0
    end_id: int = 0
    start_id: int | None = None
    typical_prompt: int = 0
    placeholders: tuple[str, ...] = ()
    typical_length: int = 1
    max_length: int = 0
    most_frequent: str = ""
    over: str = ""
    boundaries: bool = False
    class_lengths: tuple[float, ...] = ()
    units_per_second: float = 0.0
    members: tuple[str, ...] = ()
    anchor: str = ""
    answers: tuple[tuple[int, ...], ...] = ()

    @property
    def first_placeholder(self) -> int:
        """The token id of the first of `placeholders`; the others follow it."""
        return self.vocabulary_size - len(self.placeholders)

    @property
    def never_written(self) -> tuple[int, ...]:
        """The token ids that no text holds after its begin token: padding, begin and placeholders."""
        return (self.padding_id, self.begin_id, *range(self.first_placeholder, self.vocabulary_size))


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

"""What a model knows of a table: one Column per input, one Target per output.

A Column starts as a guess (inference) or a statement (recipe), and is completed when preprocessing is fitted on the
training split: vocabulary size, sample rate, image size, lengths. Encoders and heads are built from it alone, so
`nn` never touches data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polysense.core.modality import Modality, Task

__all__ = ["Column", "Requirements", "Schema", "Target"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input column.

    Attributes:
        name: The column's name, in the table too unless `source` says otherwise.
        modality: What its cells are.
        source: The table's column that it is read from; "": the one of its name.
        multiple: Whether a cell holds a list of items (several images, a dialogue's turns, a video's frames).
        max_items: Items in the longest cell seen at fitting; 1 unless `multiple`.
        typical_length: The 95th percentile of an item's length at fitting, in tokens (text) or samples (audio).
            It sets the scale of the length levels used at prediction; it never cuts anything.
        vocabulary_size: Token ids run over [0, vocabulary_size) (text).
        padding_id: The token id that fills the padding (text).
        mask_id: The token id that stands for a hidden token: the tokenizer's own for that, else its unknown one, else
            the padding's; None where fitted before there was one (text).
        vocabulary: The token that each id stands for, as the tokenizer spells it (text; only if an encoder asks).
        document_frequencies: The share of training texts that hold each token id (text; only if an encoder asks).
        num_documents: How many training texts those shares were taken from (text).
        num_categories: Category ids run over [0, num_categories); 0 is "unknown" (category).
        num_features: Values in one item: the features of a date, the hashes of a hashed category; else 1.
        collision_rate: Share of the distinct training values that share all their hashes with another (category);
            None where ids are looked up.
        quantiles: The edges of the bins that hold equal shares of the training values, ascending, scaled as the items
            are (number); None where no encoder asks for them.
        sample_rate: Samples per second of the decoded waveform (audio).
        image_size: (height, width) in pixels after resizing (image).
        num_channels: 1 for grey, 3 for RGB (image).
        mean: Per channel (image, of values scaled to [0, 1]), or one number (number: the centre; date: in seconds
            since 1970).
        std: Likewise the scale.
    """

    name: str
    modality: Modality
    source: str = ""
    multiple: bool = False
    max_items: int = 1
    typical_length: int = 1
    vocabulary_size: int | None = None
    padding_id: int = 0
    mask_id: int | None = None
    vocabulary: tuple[str, ...] | None = None
    document_frequencies: tuple[float, ...] | None = None
    num_documents: int = 0
    num_categories: int | None = None
    num_features: int = 1
    collision_rate: float | None = None
    quantiles: tuple[float, ...] | None = None
    sample_rate: int | None = None
    image_size: tuple[int, int] | None = None
    num_channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def table_column(self) -> str:
        """The table's column that its cells stand in."""
        return self.source or self.name

    def replace(self, **changes: Any) -> Column:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


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
    def num_outputs(self) -> int:
        """Classes, labels, regression targets or tokens to choose from; the keys of a row that shares a space."""
        if self.task is Task.GENERATION:
            return self.vocabulary_size
        per_column = self.task in (Task.REGRESSION, Task.RETRIEVAL, Task.RECONSTRUCTION)
        return len(self.columns) if per_column else len(self.classes)

    @property
    def first_placeholder(self) -> int:
        """The token id of the first of `placeholders`; the others follow it."""
        return self.vocabulary_size - len(self.placeholders)

    @property
    def never_written(self) -> tuple[int, ...]:
        """The token ids that no text holds after its begin token: padding, begin and placeholders."""
        return (self.padding_id, self.begin_id, *range(self.first_placeholder, self.vocabulary_size))

    @property
    def is_binary(self) -> bool:
        """Whether this is a classification into two classes; the second is the positive one."""
        return self.task is Task.CLASSIFICATION and len(self.classes) == 2


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
    """What an encoder asks of its column's preprocessing, or a head of its target's; None: "as fitted on the data".

    Attributes:
        tokenizer: Folder or hub name of the tokenizer (text, generation).
        revision: The hub revision of the tokenizer; None = the newest (generation).
        num_embeddings: Token ids that the language model knows: [0, num_embeddings) (generation).
        max_tokens: The longest sequence that the encoder or the language model takes (text, generation).
        tokenization: "words" or "subwords", where the recipe leaves it open (text).
        vocabulary: Whether Column.vocabulary is needed (text).
        token_frequencies: Whether Column.document_frequencies is needed (text).
        image_size: (height, width) in pixels (image).
        num_channels: 1 or 3 (image).
        mean: Per channel, of values scaled to [0, 1] (image).
        std: Likewise.
        sample_rate: Samples per second (audio).
        num_quantiles: Bins that hold equal shares of the training values (number).
        hash_buckets: Buckets that categories are hashed into (category).
        num_hashes: Hash functions, each with its own buckets (category).
    """

    tokenizer: str | None = None
    revision: str | None = None
    num_embeddings: int | None = None
    max_tokens: int | None = None
    tokenization: str | None = None
    vocabulary: bool = False
    token_frequencies: bool = False
    image_size: tuple[int, int] | None = None
    num_channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    sample_rate: int | None = None
    num_quantiles: int | None = None
    hash_buckets: int | None = None
    num_hashes: int | None = None

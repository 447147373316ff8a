"""ModalitySpec: all that generic code asks of a modality, and the small records that it answers with.

A spec is a stateless object; what was learned from a column's training cells stands in its record, a `Column` with the
modality's own fields, and comes as an argument. Specs import neither torch nor `nn`: encoders are named by the `type:`
of their config, decoders by a dotted path that is imported when a model is built. So a table can be looked at, and an
exported model can predict, without torch.

Every abstract member has to be answered; those under "May be refused" are answered or `Unsupported`, with the reason
that messages print. A default would be right for one modality and silently wrong for the next, so what many have in
common is answered by a base that says whom it is right for: `ValueSpec` for single values, `FileSpec` for files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.backbones import Backbones
from polysense.core.cell_parts import CellParts
from polysense.core.corruption import Corruption
from polysense.core.descriptor import CategoryDescriptor, Descriptor
from polysense.core.display import CellDisplay
from polysense.core.geometry import Placement
from polysense.core.likeness import Likeness
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.core.segment_aligner import SegmentAligner
from polysense.core.unsupported import Unsupported

__all__ = [
    "Claim",
    "FittedColumn",
    "MakeAligner",
    "MakeParts",
    "ModalitySpec",
    "ModelSize",
    "Preview",
    "Profile",
    "parts",
]


class Profile(ABC):
    """Facts about a column of which nothing is known yet; see `data.roles.profile.ColumnProfile`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The column's."""

    @property
    @abstractmethod
    def words(self) -> Collection[str]:
        """The words of its name, lower-case."""

    @property
    @abstractmethod
    def last_word(self) -> str:
        """The last of them."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """The folder that relative paths start from."""

    @property
    @abstractmethod
    def cells(self) -> Sequence[object]:
        """Up to 1,000 cells that are not missing."""

    @property
    @abstractmethod
    def items(self) -> Sequence[object]:
        """The same with lists unfolded."""

    @property
    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Those of the cells that are texts."""

    @property
    @abstractmethod
    def are_lists(self) -> bool:
        """Whether cells are lists."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """Rows of the table."""

    @property
    @abstractmethod
    def num_present(self) -> int:
        """Rows whose cell is not missing."""

    @property
    @abstractmethod
    def file_shares(self) -> Mapping[str, float]:
        """Per modality the share of the items that are its files, by their names or first bytes."""

    @property
    @abstractmethod
    def recurs(self) -> bool:
        """Whether values recur so often that they are names of a few things; the longer they are, the more often."""

    @property
    @abstractmethod
    def is_index(self) -> bool:
        """Whether the column counts the rows, by its values or its name."""

    @property
    @abstractmethod
    def code(self) -> str | None:
        """Why the cells look like codes or ids ("codes such as 'a7'"), which have no meaning of their own."""

    @property
    @abstractmethod
    def mean_words(self) -> float:
        """Words in a cell that is a text, on average."""

    @property
    @abstractmethod
    def num_numbers(self) -> int:
        """Cells that are numbers or spell one, with or without a unit."""

    @property
    @abstractmethod
    def numbers(self) -> str:
        """For a reason: the numbers' unit and marks, and what is missing; "" if there is nothing to say."""

    @property
    @abstractmethod
    def decimal_mark(self) -> str | None:
        """The decimal mark of the rest of the table, where this column's numbers can be read in two ways; else None."""

    @abstractmethod
    def num_distinct(self) -> int:
        """Distinct values in all rows."""

    @abstractmethod
    def counts(self) -> str:
        """For a reason: how many values in how many rows."""

    @abstractmethod
    def example(self) -> str:
        """For a reason: a cell, quoted and short."""

    @abstractmethod
    def range_of_numbers(self) -> tuple[str, str, bool]:
        """Lowest and highest number, for a reason, and whether all are integers."""

    @abstractmethod
    def files(self, kind: str) -> str:
        """For a reason: what the cells of files look like, and how many files and cells are missing.

        Args:
            kind: The modality that they are of.
        """

    @property
    @abstractmethod
    def are_remote(self) -> bool:
        """Whether the cells of files are URLs that may not be downloaded."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A modality's claim on a column.

    Attributes:
        confidence: From 0 to 1. From `SURE` on the cells leave no doubt (a file's first bytes, a parsed date), and the
            claim goes before any reason to leave the column out, such as being an identifier.
        evidence: Why, for a person: "from 1 to 9, 4 distinct values in 120 rows".
        multiple: Whether a cell holds several items.
        is_used: Whether to make it an input unasked. False where the cells are surely the modality's and yet do harm
            (dates: a model may learn which day had which answer); `evidence` then says why and how to take it in.
        with_own_split: Where `is_used` is False because a random split would judge too well: the evidence for making it
            an input where the table itself says which rows judge. None: it is left out there too.
        settings: Of the column's config, where the table tells what the column alone does not.
        hint: What is said of the column where another claim is surer: "if they are days ..., its type is date".
        warns: Whether the hint is a warning.
    """

    SURE: ClassVar[float] = 0.9

    confidence: float
    evidence: str
    multiple: bool = False
    is_used: bool = True
    with_own_split: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    hint: str = ""
    warns: bool = False

    def __post_init__(self) -> None:
        assert 0 < self.confidence <= 1, f"a confidence of {self.confidence}; claim nothing (None) instead of 0"


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """How large networks are to be.

    Attributes:
        channels: First-stage channels of an image's network; others follow in proportion.
        layers: Transformer blocks.
        width: Of the tokens.
    """

    channels: int
    layers: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A cell as a person sees it.

    Attributes:
        images: uint8 [height, width, 3] each, small.
        audio: (file, media type) each, to be played.
        texts: Excerpts.
        note: What else is to be said: how many there are, how long.
        stretches: Whether the images are wide, and run in time.
    """

    images: Sequence[np.ndarray] = field(default_factory=tuple)
    audio: Sequence[tuple[bytes, str]] = field(default_factory=tuple)
    texts: Sequence[str] = field(default_factory=tuple)
    note: str = ""
    stretches: bool = False

    @classmethod
    def of_texts(cls, values: Sequence[object], note: str = "") -> Preview:
        """Values in words; of a float six digits."""
        return cls(texts=[f"{value:.6g}" if isinstance(value, float) else str(value) for value in values], note=note)


def parts(cell: object) -> list[object]:
    """What a cell holds: the items of a list that are there, or itself."""
    return [part for part in (cell if isinstance(cell, list) else [cell]) if part is not None]


class FittedColumn(ABC):
    """A column's fitted preprocessing; see `data.column.ColumnProcessor`.

    Attributes:
        name: The input column's.
    """

    name: str

    @property
    @abstractmethod
    def column(self) -> Column:
        """What was fitted."""

    @abstractmethod
    def transform(self, cell: object, source: SourceInfo, root: Path) -> list[np.ndarray]:
        """A cell's items."""


MakeAligner = Callable[[FittedColumn, object, Path, Sequence[np.ndarray], int | None], SegmentAligner]
"""(fitted column, cell that is not missing, root of relative paths, its items if it was read, the item's length in
steps if that is known) -> the cell's aligner. Raises DecodeError if the cell can't be read or holds several items."""


MakeParts = Callable[[FittedColumn, object, Path, Sequence[np.ndarray], int, Placement | None], CellParts]
"""(fitted column, cell that could be read, root of relative paths, its items, parts at most, where the cell lies in its
items if that is known and the same in all) -> the cell in parts. What fills an item up is no part of the cell."""


class ModalitySpec(ABC):
    """What generic code asks. Third parties subclass it; see docs/add_a_modality.md.

    Attributes:
        name: Of the modality, as recipes and schemas have it.
        rank: Its place in lists; also which of two equally sure claims wins (the lower).
        nouns: One and several of its items, for messages: ("an image", "images").
        record: The class of its fitted columns.
        column_type: `type:` of its column config, which fits a column (`ColumnConfig.build`, `ColumnProcessor.fit`) and
            decodes cells (`ColumnProcessor.transform`).
        extensions: Of its files, lower-case, without a dot; empty where cells are no files.
        is_numeric: Whether cells are numbers that can be compared and averaged.
        is_textual: Whether cells are words, which may name something that another column holds.
        is_discrete: Whether values are expected to recur, so that equal cells say something.
        is_spatial: Whether an item is an image, whose pixels lie somewhere in the original: batches then carry their
            geometry (`ColumnProcessor.placed`).
        dtype: Of items.
        length_multiple: What the padded length of items is a multiple of; None where all items have one shape.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    nouns: ClassVar[tuple[str, str]]
    record: ClassVar[type[Column]]
    column_type: ClassVar[str]
    extensions: ClassVar[frozenset[str]]
    is_numeric: ClassVar[bool]
    is_textual: ClassVar[bool]
    is_discrete: ClassVar[bool]
    is_spatial: ClassVar[bool] = False
    dtype: ClassVar[type[np.generic]]
    length_multiple: ClassVar[int | None]

    @property
    def is_prose(self) -> bool:
        """Whether cells are free text, which says a thing in words of its own."""
        return self.is_textual and not self.is_discrete

    @property
    def is_file(self) -> bool:
        """Whether cells refer to files, or hold them."""
        return bool(self.extensions)

    # Before anything is fitted.

    @abstractmethod
    def claim(self, profile: Profile) -> Claim | None:
        """How sure it is that a column's cells are its own, and why; None: they are not."""

    @abstractmethod
    def recognizes(self, head: bytes) -> bool:
        """Whether a file is one of its own, by its first 16 bytes."""

    def recognizes_decoded(self, value: Mapping[str, object]) -> bool:
        """Whether a dict is what a library makes of one of its files, and can be read as one; by default none is."""
        return False

    def is_missing(self, text: str) -> bool:
        """Whether a text in a column of its own stands for a missing cell ("?" among dates), beside those that do
        everywhere; by default none does."""
        return False

    @abstractmethod
    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        """The encoder's config, trained from scratch, for a size of network; None: as the encoder itself has it."""

    @abstractmethod
    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        """The configs of features that are made of a cell without trained weights (`data.features.FeatureConfig`), for
        simple models beside a network; none where nobody has thought of any.

        Args:
            num_rows: Rows of the table.
        """

    @abstractmethod
    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object] | None:
        """The config of what is safe to vary in training; None: nothing.

        Args:
            cells: Some of the column's, for what depends on them.
            root: The folder that relative paths start from.
        """

    # Items.

    @abstractmethod
    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        """Of an item, padded to a length (which is 1 where `length_multiple` is None)."""

    @abstractmethod
    def padding(self, column: Column) -> int:
        """The value that fills an item up."""

    @abstractmethod
    def cost(self, column: Column, length: float | int) -> float:
        """Tokens that an item of a length counts as in a budget of memory and time; proportional to the length."""

    @abstractmethod
    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        """The lengths of a cell's items in their own units (tokens, samples; else 1), decoding no more than is needed.

        Raises:
            DecodeError: The cell can't be read.
        """

    def longest(self, fitted: FittedColumn) -> int | None:
        """The length that items are cut to; None where they are not."""
        return None

    def item_column(self, column: Column) -> Column:
        """The record that an encoder of single items is built from: `column`, or one of another modality whose encoders
        read these items (a video's frames are images)."""
        return column

    @property
    def item_modality(self) -> str:
        """The modality of `item_column`."""
        return self.name

    # For people.

    @abstractmethod
    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        """A cell as a person sees it.

        Args:
            column: The fitted column.
            cell: As the table has it.
            items: Its items, at least one.
            most: Items that are shown, at most.
            side: Pixels of a thumbnail, at most.
            playable: Whether what can be played is to be there as a file.
        """

    def preview_reconstruction(self, column: Column, value: np.ndarray) -> Preview | None:
        """What a model reconstructed of a cell, as a person sees it.

        Args:
            column: The fitted column.
            value: What its decoder predicts for one row.

        Returns:
            None where the cell that `ColumnProcessor.restore` makes of it says it all.
        """
        return None

    @abstractmethod
    def display(self, cell: object, root: Path) -> CellDisplay:
        """A cell, not missing, as a person sees it who labels its row, whole and before anything is fitted; paths start
        from `root`. Raises DecodeError where it can't be read; see `core.display`.
        """

    @abstractmethod
    def summary(self, column: Column) -> Mapping[str, str]:
        """A fitted column's profile: facts and their values, for a table of facts."""

    @abstractmethod
    def identity(self, cell: object) -> str:
        """A text that two cells share if and only if they are taken to be the same; files by their path if known."""

    # May be refused.

    @property
    @abstractmethod
    def corruptions(self) -> Sequence[Corruption] | Unsupported:
        """What damages cells, for audits; the first one is what harms them most often."""

    @property
    @abstractmethod
    def estimate(self) -> Callable[[object], list[int]] | Unsupported:
        """From a cell to sizes of its items that are proportional to `measure` and cost nothing (characters)."""

    @property
    @abstractmethod
    def aligner(self) -> MakeAligner | Unsupported:
        """From a cell to the alignment of its parts (characters, seconds) with the steps of its item, where segments
        can lie in a cell."""

    @property
    @abstractmethod
    def descriptors(self) -> Sequence[Descriptor] | Unsupported:
        """Numbers that describe a cell and that rows can be told apart by, for audits: how long, how loud, how dark."""

    @property
    def categories(self) -> Sequence[CategoryDescriptor] | Unsupported:
        """What else a cell can be told by, for checks of tables: the language of a text."""
        return Unsupported(f"nothing but numbers describes {self.nouns[1]}")

    @property
    @abstractmethod
    def likeness(self) -> Likeness | Unsupported:
        """How near copies among cells are recognized, such as a photograph in another size; refused where only equal
        cells are the same. See `core.likeness`."""

    @property
    @abstractmethod
    def cell_parts(self) -> MakeParts | Unsupported:
        """From a cell to the parts that an explanation tells apart, such as words and patches; refused where a cell is
        one value. See `core.cell_parts`."""

    @abstractmethod
    def decoder(self, column: Column) -> str | Unsupported:
        """The dotted path of the `nn.column_decoder.ColumnDecoder` that makes a column's items from a code."""

    @abstractmethod
    def backbones(self, cells: Sequence[object]) -> Backbones | Unsupported:
        """Pretrained backbones that suit some cells."""

    @property
    @abstractmethod
    def pretrained(self) -> str | Unsupported:
        """The dotted path of the `nn.pretrained.Pretrained` encoder that runs a transformers backbone on its items."""

    @property
    @abstractmethod
    def onnx(self) -> str | Unsupported:
        """The dotted path of the `nn.onnx_encoder.OnnxEncoder` that runs a network in ONNX format on its items."""

"""The text modality: strings in any language, as token ids."""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.backbones import Backbones
from polysense.core.corruption import Corruption
from polysense.core.descriptor import CategoryDescriptor, Descriptor
from polysense.core.display import CellDisplay
from polysense.core.likeness import Likeness
from polysense.core.modality_spec import (
    Claim,
    FittedColumn,
    MakeAligner,
    MakeParts,
    ModalitySpec,
    ModelSize,
    Preview,
    Profile,
    parts,
)
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column
from polysense.modalities.text.backbones import backbones_for
from polysense.modalities.text.column import TextProcessor
from polysense.modalities.text.corruptions import CORRUPTIONS
from polysense.modalities.text.describe import CATEGORIES, DESCRIPTORS
from polysense.modalities.text.likeness import LIKENESS
from polysense.modalities.text.parts import text_parts
from polysense.modalities.text.record import TextColumn
from polysense.modalities.text.segments import align_text

__all__ = ["SPEC", "TextSpec", "is_mostly_english"]

_MAJORITY = 0.9  # of the cells; numbers among texts are read as texts
_MAX_EXCERPTS = 20
# Frequent words of English, and of other languages in Latin letters; none is frequent in both.
_ENGLISH_WORDS = re.compile(r"(?:the|of|and|to|is|that|it|for|with|this|you|not|have|from|be|are)")
_OTHER_WORDS = re.compile(
    r"(?:der|das|und|ist|nicht|ein|eine|den|von|zu|mit|que|de|la|el|los|las|es|un|una|por|le|les|et|des|est|une|du|pas"
    r"|di|che|sono|het|een|van|niet|em|uma|nie|jest|och|att|det|som)"
)


class TextSpec(ModalitySpec):
    """See `ModalitySpec`."""

    name, rank, nouns = "text", 10, ("a text", "texts")
    record, column_type = TextColumn, "text"
    extensions: ClassVar[frozenset[str]] = frozenset()
    is_numeric, is_textual, is_discrete = False, True, False
    dtype, length_multiple = np.int32, 8  # tokens: 8 keep matrix units aligned

    def claim(self, profile: Profile) -> Claim | None:
        if profile.are_lists:
            items = profile.items
            if not items or not all(isinstance(item, str) for item in items):
                return None
            longest = max(len(cell) for cell in profile.cells if isinstance(cell, list))
            evidence = f"lists of up to {longest:,} texts such as {profile.example()}"
            return Claim(confidence=Claim.SURE, evidence=evidence, multiple=True)
        if len(profile.texts) < _MAJORITY * len(profile.cells):
            return None
        words = profile.mean_words
        average = "1 word" if words == 1 else f"{words:.3g} words"
        return Claim(confidence=0.5, evidence=f"{profile.counts()}, {average} on average, such as {profile.example()}")

    def recognizes(self, head: bytes) -> bool:
        return False

    def default_encoder(self, size: ModelSize | None) -> Mapping[str, object]:
        return {"type": "text_transformer"} | ({} if size is None else {"num_layers": size.layers})

    def default_features(self, num_rows: int) -> Sequence[Mapping[str, object]]:
        return [{"type": "word_tfidf"}, {"type": "character_tfidf"}]

    def default_augmentation(self, cells: Sequence[object], root: Path) -> Mapping[str, object]:
        return {"type": "text"}

    def item_shape(self, column: Column, length: int) -> tuple[int, ...]:
        return (length,)

    def padding(self, column: Column) -> int:
        return TextColumn.of(column).padding_id

    def cost(self, column: Column, length: float | int) -> float:
        return float(length)

    def measure(self, fitted: FittedColumn, cell: object, source: SourceInfo, root: Path) -> list[int]:
        assert isinstance(fitted, TextProcessor)
        # A copy: what is cut here is cut once more, logged and counted where the row is read for training.
        quiet = copy.copy(fitted)
        quiet.num_truncated = 1
        return [len(item) for item in quiet.transform(cell, source, root)]

    def longest(self, fitted: FittedColumn) -> int | None:
        assert isinstance(fitted, TextProcessor)
        return fitted.max_tokens

    def preview(
        self, column: Column, cell: object, items: Sequence[np.ndarray], *, most: int, side: int, playable: bool
    ) -> Preview:
        texts = parts(cell)
        note = f"and {len(texts) - _MAX_EXCERPTS} more" if len(texts) > _MAX_EXCERPTS else ""
        return Preview.of_texts(texts[:_MAX_EXCERPTS], note)

    def display(self, cell: object, root: Path) -> CellDisplay:
        return CellDisplay(texts=[str(part) for part in parts(cell)])

    def summary(self, column: Column) -> Mapping[str, str]:
        column = TextColumn.of(column)
        return {"tokens known": f"{column.vocabulary_size:,}", "tokens of a long text": f"{column.typical_length:,}"}

    def identity(self, cell: object) -> str:
        return "\0".join(unicodedata.normalize("NFC", str(part)).strip() for part in parts(cell))

    @property
    def estimate(self) -> Callable[[object], list[int]]:
        def characters(cell: object) -> list[int]:
            return [len(str(part)) for part in parts(cell)]

        return characters

    @property
    def corruptions(self) -> Sequence[Corruption]:
        return CORRUPTIONS

    @property
    def aligner(self) -> MakeAligner:
        return align_text

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        return DESCRIPTORS

    @property
    def categories(self) -> Sequence[CategoryDescriptor]:
        return CATEGORIES

    @property
    def likeness(self) -> Likeness:
        return LIKENESS

    @property
    def cell_parts(self) -> MakeParts:
        return text_parts

    def decoder(self, column: Column) -> str:
        return "polysense.modalities.text.decoder.TokenDecoder"

    def backbones(self, cells: Sequence[object]) -> Backbones:
        return backbones_for(cells, english=is_mostly_english(cells))

    @property
    def pretrained(self) -> str:
        return "polysense.modalities.text.encoders.pretrained.PretrainedText"

    @property
    def onnx(self) -> str:
        return "polysense.modalities.text.encoders.onnx.OnnxText"


def is_mostly_english(texts: Iterable[object], limit: int = 500) -> bool:
    """Whether texts are mostly English, by their letters and most frequent words; True where nothing tells.

    Args:
        texts: Cells; what is no text is left alone, lists are looked into.
        limit: Cells that are looked at, the first ones.
    """
    letters = foreign = num_words = english = other = 0
    for cell, _ in zip(texts, range(limit), strict=False):
        for text in parts(cell):
            if isinstance(text, str):
                letters += sum(map(str.isalpha, text))
                foreign += sum(c.isalpha() and not c.isascii() for c in text)
                words = text.lower().split()
                num_words += len(words)
                english += sum(_ENGLISH_WORDS.fullmatch(word) is not None for word in words)
                other += sum(_OTHER_WORDS.fullmatch(word) is not None for word in words)
    # A "de" here and there is a name: in running text of these languages every fourth word is one of the list.
    return foreign <= 0.1 * letters and other <= max(english, 0.05 * num_words)


SPEC = TextSpec()

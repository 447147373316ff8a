"""Characters and words of a text, and the tokens that they are read as."""

from __future__ import annotations

from pathlib import Path

import pytest

from polysense.core.registry import modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.core.segment_aligner import SegmentAligner
from polysense.core.unsupported import Unsupported
from polysense.errors import DecodeError
from polysense.modalities.text.column import TextColumnConfig, TextProcessor

TEXTS = ["  Ada  lives\tin Oslo. ", "Oslo is where Ada lives.", "Ada."] * 4


def fitted(*, words: bool = False) -> TextProcessor:
    processor = TextColumnConfig(words=words).build("text")
    assert isinstance(processor, TextProcessor)
    sources = [SourceInfo(table="t", row=i, column="text") for i in range(len(TEXTS))]
    processor.fit(TEXTS, sources, Path(), Requirements())
    return processor


def aligned(cell: object, *, words: bool = False) -> SegmentAligner:
    align = modality("text").aligner
    assert not isinstance(align, Unsupported)
    return align(fitted(words=words), cell, Path(), (), None)


def test_words_and_the_tokens_of_a_segment() -> None:
    aligner = aligned("  Ada  lives\tin Oslo. ")
    assert aligner.text is not None
    assert aligner.words is not None
    assert [aligner.text[a:b] for a, b in aligner.words] == ["Ada", "lives", "in", "Oslo."]
    steps = aligner.steps(16.0, 20.0)
    assert steps is not None
    assert aligner.terms(*steps).text == "Oslo", "a full stop is no part of a name"
    # Less than half of a token still has one.
    inside = aligner.steps(7.0, 8.0)
    assert inside is not None
    assert inside[1] - inside[0] == 1


def test_a_list_of_words_is_one_text_and_a_list_of_texts_is_refused() -> None:
    aligner = aligned(["Ada", "lives", None], words=True)
    assert (aligner.text, aligner.words) == ("Ada lives ", [(0, 3), (4, 9), (10, 10)])
    with pytest.raises(DecodeError, match="found 2 labels for 3 words in the list"):
        aligner.positions(2)
    assert aligned(["Ada lives."]).text == "Ada lives."
    with pytest.raises(DecodeError, match=r"found 2 texts in column 'text', expected one; .*words to true"):
        aligned(["Ada", "lives"])

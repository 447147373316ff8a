"""Texts mistyped as tokens: within the limit, with their marks, and untouched where they can't be spelled."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from polysense.core.batch import ColumnBatch
from polysense.core.random import uniforms
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.modalities.text.augment import TextTransformConfig
from polysense.modalities.text.column import TextColumnConfig, TextProcessor
from polysense.modalities.text.speller import Speller

TEXTS = [
    "the quick brown fox jumps",
    "Привет мир, как дела",
    "a small dog 42 times",
    "日本語のテキスト",
    "naïve café",
] * 4


def fitted(**settings: object) -> TextProcessor:
    processor = TextColumnConfig(**settings).build("note")  # type: ignore[arg-type]
    sources = [SourceInfo(table="t", row=i, column="note") for i in range(len(TEXTS))]
    processor.fit(TEXTS, sources, None, Requirements())  # type: ignore[arg-type]
    return processor


SUBWORDS, WORDS = fitted(), fitted(tokens="words")


def draw(seed: int, run: int, num: int) -> np.ndarray:
    return uniforms(num, seed, run)


def ids_of(processor: TextProcessor, text: str) -> list[int]:
    return list(processor.tokenizer.encode(text).ids)


def test_a_subword_text_is_the_mistyped_one_tokenized() -> None:
    speller = Speller(SUBWORDS.tokenizer, None)
    ids = ids_of(SUBWORDS, "the quick brown fox")
    typed = {tuple(speller.mistyped(ids, 0.1, partial(draw, seed))) for seed in range(40)}
    texts = {SUBWORDS.tokenizer.decode(each).strip() for each in typed}
    assert len(texts) > 10
    assert all(ids_of(SUBWORDS, SUBWORDS.tokenizer.decode(each).strip()) == list(each) for each in typed)
    assert all(len(text.split()) == 4 for text in texts)


def test_a_misspelled_word_is_an_unknown_one() -> None:
    unknown = WORDS.unknown_id
    speller = Speller(WORDS.tokenizer, None)
    ids = ids_of(WORDS, "the quick strange fox")
    assert ids.count(unknown) == 1  # type: ignore[arg-type]
    typed = [speller.mistyped(ids, 1.0, partial(draw, seed)) for seed in range(20)]
    assert all(len(each) == 4 for each in typed)
    assert any(each.count(unknown) > 1 for each in typed)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, SUBWORDS.column.vocabulary_size - 1), max_size=12), st.integers(0, 2**60))
def test_any_tokens_stay_or_are_mistyped_and_never_too_many(ids: list[int], seed: int) -> None:
    speller = Speller(SUBWORDS.tokenizer, 12)
    assert speller.mistyped(ids, 0.0, partial(draw, seed)) == ids
    typed = speller.mistyped(ids, 0.5, partial(draw, seed))
    assert len(typed) <= 12
    assert bool(typed) == bool(ids)


def test_marks_stay_at_both_ends_where_a_text_is_cut() -> None:
    letters = {letter: i + 2 for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    tokenizer = Tokenizer(models.BPE({"[S]": 0, "[E]": 1, **letters}, []))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["[S]", "[E]"])
    tokenizer.post_processor = processors.TemplateProcessing("[S] $A [E]", special_tokens=[("[S]", 0), ("[E]", 1)])
    ids = [0, *(letters[each] for each in "brown"), 1]
    tokenizer.decoder = None  # type: ignore[assignment]
    for seed in range(30):
        typed = Speller(tokenizer, 7).mistyped(ids, 1.0, partial(draw, seed))
        assert (typed[0], typed[-1], typed.count(0), typed.count(1)) == (0, 1, 1, 1)
        assert len(typed) <= 7


@pytest.mark.parametrize("processor", [SUBWORDS, WORDS])
def test_a_row_is_mistyped_alike_in_any_company_and_padding(processor: TextProcessor) -> None:
    texts = [ids_of(processor, text) for text in TEXTS[:5]] + [[]]
    lengths = torch.tensor([[len(text)] for text in texts])
    rows = np.arange(6) + 3

    def batch(chosen: list[int], padded_to: int) -> ColumnBatch:
        values = torch.full((len(chosen), 1, padded_to), processor.column.padding_id, dtype=torch.int32)
        for i, row in enumerate(chosen):
            values[i, 0, : len(texts[row])] = torch.tensor(texts[row], dtype=torch.int32)
        return ColumnBatch(values=values, lengths=lengths[chosen])

    def read(column: ColumnBatch) -> list[list[int]]:
        return [v[0, :n].tolist() for v, n in zip(column.values, column.lengths[:, 0].tolist(), strict=True)]

    transform = TextTransformConfig(probability=0.0, character_noise=0.3).create(processor)
    whole = transform(batch(list(range(6)), 40), rows, 5, 1)
    assert read(whole) != texts
    assert read(whole)[-1] == []
    assert whole.values.dtype == torch.int32
    assert whole.geometry is not None
    part = transform(batch([4, 1], 50), rows[[4, 1]], 5, 1)
    assert read(part) == [read(whole)[4], read(whole)[1]]
    assert bool((part.values[torch.arange(50) >= part.lengths[..., None]] == processor.column.padding_id).all())
    assert read(transform(batch(list(range(6)), 40), rows, 5, 2)) != read(whole)
    nothing = TextTransformConfig(probability=0.0).create(processor)(batch(list(range(6)), 40), rows, 5, 1)
    assert read(nothing) == texts

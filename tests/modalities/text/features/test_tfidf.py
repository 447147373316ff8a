"""Tf-idf: scikit-learn's numbers, any language, any cell."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from polysense.modalities.text.features.tfidf import CharacterTfidfConfig, TfidfExtractor, WordTfidfConfig
from polysense.modalities.text.record import TextColumn

COLUMN = TextColumn(name="x", vocabulary_size=9)
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "the the the fox, fox; and a dog",
    "Don't panic: it's 3.14 or 42!",
    "a b c",
    "Der Fluß fließt über die Brücke; der Fluss auch",
    "быстрая лиса прыгает, быстрая собака спит",
    "敏捷的棕色狐狸跳过了懒狗 狐狸",
    "الثعلب البني السريع",
    "one",
    "naïve café\tcafe\u0301\nx" * 2,
    "😀 smile 😀😀 smile",
]
WORDS, CHARACTERS = WordTfidfConfig(min_texts=1), CharacterTfidfConfig(min_texts=1)


def fitted(config: WordTfidfConfig | CharacterTfidfConfig, texts: Sequence[object]) -> TfidfExtractor:
    extractor = config.create(COLUMN)
    assert isinstance(extractor, TfidfExtractor)
    extractor.fit(texts, [])
    return extractor


def vectors(extractor: TfidfExtractor, texts: Sequence[object]) -> np.ndarray:
    return np.array([extractor.extract(text, []) for text in texts])


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (WORDS, {"analyzer": "word", "ngram_range": (1, 2)}),
        (WordTfidfConfig(longest=1, min_texts=2), {"analyzer": "word", "min_df": 2}),
        (WordTfidfConfig(longest=3, min_texts=1), {"analyzer": "word", "ngram_range": (1, 3)}),
        (CHARACTERS, {"analyzer": "char_wb", "ngram_range": (2, 4)}),
        (
            CharacterTfidfConfig(shortest=1, longest=6, min_texts=2),
            {"analyzer": "char_wb", "ngram_range": (1, 6), "min_df": 2},
        ),
    ],
    ids=["words", "frequent words", "triples", "characters", "frequent characters"],
)  # fmt: skip
def test_the_numbers_are_scikit_learns(config: WordTfidfConfig | CharacterTfidfConfig, options: dict[str, Any]) -> None:
    known = [unicodedata.normalize("NFC", text) for text in TEXTS]
    theirs = TfidfVectorizer(sublinear_tf=True, **options).fit(known)
    ours = fitted(config, TEXTS)
    assert sorted(ours.terms) == sorted(theirs.vocabulary_)
    order = [theirs.vocabulary_[term] for term in ours.terms]
    new = ["the fox and a new dog", "", "unbekannt", "狐狸 fox fox fox", "!?"]
    np.testing.assert_allclose(vectors(ours, TEXTS), theirs.transform(known).toarray()[:, order], atol=1e-12)
    np.testing.assert_allclose(vectors(ours, new), theirs.transform(new).toarray()[:, order], atol=1e-12)


@given(st.lists(st.text(alphabet="ab cé.\u0301ß狗", max_size=12), min_size=1, max_size=6), st.text(max_size=20))
def test_any_texts(texts: list[str], new: str) -> None:
    for config in (WORDS, CHARACTERS):
        extractor = fitted(config, texts)
        vector = extractor.extract(new, [])
        assert vector.shape == (extractor.num_features,)
        assert np.isclose(np.linalg.norm(vector), 1) or not vector.any()


def test_the_terms_of_the_most_texts_are_chosen() -> None:
    extractor = fitted(WordTfidfConfig(longest=1, max_terms=2, min_texts=1), ["aa bb", "aa cc cc cc", "bb aa", "dd"])
    assert extractor.terms == ["aa", "bb"]
    rare = fitted(WordTfidfConfig(min_texts=5), ["one two", "three"])
    assert "one two" in rare.terms, "no term is in five texts: all are taken"


@pytest.mark.parametrize("config", [WORDS, CHARACTERS], ids=lambda config: config.type)
def test_cells_of_any_form(config: WordTfidfConfig | CharacterTfidfConfig) -> None:
    extractor = fitted(config, [*TEXTS, "true 42", b"\xff broken", ["the fox", None, "the dog"]])

    def vector(cell: object) -> bytes:
        return extractor.extract(cell, []).tobytes()

    assert vector(b"the FOX") == vector("the fox")
    assert vector(42) == vector("42")
    assert vector(True) == vector("TRUE")
    assert vector("cafe\u0301") == vector("café")
    assert vector(["the fox", None, "a dog"]) == vector("the fox a dog")
    assert not extractor.extract("zz", []).any() or config is CHARACTERS


@pytest.mark.parametrize("config", [WORDS, CHARACTERS], ids=lambda config: config.type)
def test_of_a_very_long_text_the_beginning_is_read(config: WordTfidfConfig | CharacterTfidfConfig) -> None:
    extractor = fitted(config, TEXTS)
    start = "the fox " * (config.max_characters // 8)
    assert extractor.extract(start + "dog " * 300_000, []).tobytes() == extractor.extract(start, []).tobytes()


def test_many_words_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.modalities.text.features.tfidf._MOST_REMEMBERED", 2)
    extractor = fitted(CHARACTERS, TEXTS)
    first = vectors(extractor, TEXTS)
    assert vectors(extractor, TEXTS[::-1])[::-1].tobytes() == first.tobytes()


def test_rare_candidates_are_dropped_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.modalities.text.features.tfidf._MOST_CANDIDATES", 20)
    texts = [f"common w{i}a w{i}b w{i}c" for i in range(40)]
    extractor = fitted(WordTfidfConfig(longest=1), texts)
    assert extractor.terms == ["common"]
    assert extractor.extract("common", [])[0] == 1.0


def test_a_word_longer_than_the_longest_run() -> None:
    with pytest.raises(ValueError, match="at most longest"):
        CharacterTfidfConfig(shortest=3, longest=2)

"""Pieces of a text: whole characters, and together the text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.pieces import pieces
from polysense.tasks.generation.tokenizer import END, OutputTokenizer

TEXTS = ["ein Wort", "два слова", "三 个字", "👩‍👩‍👧 a family", "naïve café", "a b  c"]


@given(st.binary(max_size=40), st.lists(st.integers(1, 4), max_size=40))
def test_bytes_that_may_be_no_text(data: bytes, steps: list[int]) -> None:
    """Cut anywhere, valid UTF-8 or not."""
    ends = [0]
    for step in steps:
        ends.append(min(len(data), ends[-1] + step))
    beginnings = [data[:end].decode("utf-8", "replace") for end in [*ends, len(data)]]
    found = list(pieces(beginnings))
    assert "".join(found) == beginnings[-1]
    assert all(found)


@given(st.sampled_from(TEXTS) | st.text(max_size=20))
def test_no_half_characters(text: str) -> None:
    beginnings = [text.encode("utf-8", "ignore")[:end].decode("utf-8", "replace") for end in range(1, 90)]
    whole = beginnings[-1]
    listed = ""
    for piece in pieces(beginnings):
        listed += piece
        assert whole.startswith(listed)
    assert listed == whole


def test_subwords_and_words() -> None:
    for kind in ("subwords", "words", "characters"):
        tokenizer = OutputTokenizer.train(TEXTS, kind, size=None, min_frequency=1, lowercase=False)
        for text in TEXTS:
            ids = [*tokenizer.encode(text), END]
            found = list(pieces(tokenizer.decode(ids[:end]) for end in range(len(ids) + 1)))
            assert "".join(found) == tokenizer.decode(ids)
            assert len(found) > 1
    # Bytes of which no token is a whole character.
    tokenizer = OutputTokenizer.train(["a"] * 5, "subwords", size=None, min_frequency=2, lowercase=False)
    ids = tokenizer.encode("三👩")
    assert len(ids) > 5
    assert list(pieces(tokenizer.decode(ids[:end]) for end in range(len(ids) + 1))) == ["三", "👩"]


def test_nothing() -> None:
    assert list(pieces([])) == []
    assert list(pieces(["", ""])) == []

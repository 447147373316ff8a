from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.words import (
    answer_words,
    caption_words,
    check_texts,
    composed,
    mean_score,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog doesn't bark, does it?", "a man 's dog does n't bark does it"),
        ("They cannot; we're 'fine'.", "they can not we 're fine"),
        ("A black-and-white T-shirt (large)", "a black-and-white t-shirt large"),
        ("The U.S. flag, 10:30, 3.5 km on Main St.: 1,000", "the u.s. flag 10:30 3.5 km on main st. 1,000"),
        ("refrigerator/freezer #1: 50% off -- $5 & up...", "refrigerator/freezer # 1 50 % off $ 5 & up"),
        ("It’s “quoted”…", "it 's quoted"),
        ("", ""),
        (" . ", ""),
    ],
)  # fmt: skip
def test_caption_words_are_like_the_treebanks(text, words):
    assert caption_words(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("犬がいる。", ["犬", "が", "い", "る"]),
        ("我有3只iPhone！", ["我", "有", "3", "只", "iphone"]),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),
        ("¿Dónde está?", ["dónde", "está"]),
        ("Привет, «мир»", ["привет", "мир"]),
        ("ส้ม", ["ส้", "ม"]),
        ("سلام، دنیا؟", ["سلام", "دنیا"]),
        ("I ❤️ 👩‍🚀", ["i", "❤", "👩", "🚀"]),
    ],
)
def test_caption_words_of_other_scripts(text, words):
    assert caption_words(text) == words


@given(st.text(max_size=60))
def test_caption_words_are_their_own_words(text):
    words = caption_words(composed(text))
    assert all(word and not any(char.isspace() for char in word) for word in words)
    again = caption_words(" ".join(words))
    assert caption_words(" ".join(again)) == again


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The Cat.", "cat"),
        ("an  apple!", "Apple"),
        ("1,000", "1000"),
        ("Straße", "STRASSE"),
        ("ｆｕｌｌ １２", "full 12"),
        ("don't", "dont"),
        ("cafe\u0301", "café"),
        ("“yes”。", "yes"),
    ],
)
def test_answers_that_are_the_same(first, second):
    assert answer_words(first) == answer_words(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("3.5", "35"), ("-5", "5"), ("1/2", "12"), ("10:30", "1030"), ("a", "the"), ("?", "!"), ("", "?"), ("cat", "dog")],
)
def test_answers_that_are_not(first, second):
    assert answer_words(first) != answer_words(second)


@given(st.text(max_size=40))
def test_only_a_blank_answer_has_no_words(text):
    assert bool(answer_words(text)) == bool(text.split())


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        ([["a"]], [], "1 rows of references and 0 hypotheses"),
        ([["a"], []], ["a", "b"], "row 1: .* found none"),
        (["a text"], ["a text"], "row 0: .* found the text 'a text'"),
    ],
)
def test_rows_that_do_not_match_are_refused(references, hypotheses, message):
    with pytest.raises(ValueError, match=message):
        check_texts(references, hypotheses)


def test_a_mean_of_no_rows_is_undefined():
    assert np.isnan(mean_score(np.zeros((1, 2)))).all()
    np.testing.assert_array_equal(mean_score(np.array([[3.0, 4.0], [0.0, 1.0]])), [0.75, 0.0])

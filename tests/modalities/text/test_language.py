"""Languages of texts: sentences are told, and what is too short or no language is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.modalities.text.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What did you think of the film that we saw last night?", "English"),
        ("Das ist ein kurzer Satz über das Wetter.", "German"),
        ("J'ai mangé une pomme hier soir.", "French"),
        ("私は学生です", "Japanese"),
        ("Вчера мы долго гуляли по городу и говорили о погоде.", "Russian"),
        ("这家餐馆的服务很好，我们还会再来。", "Chinese"),
        ("ok", None),
        ("12 34", None),
        ("", None),
    ],
)
def test_sentences_are_told_and_marks_are_not(text: str, language: str | None) -> None:
    assert language_of(text) == language


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    told = language_of(text)
    assert told is None or told


def test_a_long_text_is_told_by_its_beginning() -> None:
    assert language_of("This is a sentence about nothing in particular. " * 50 + "日本語" * 10_000) == "English"

"""Typing errors: letters of one script, never torn, as many as asked for, and the same for the same draws."""

from __future__ import annotations

import unicodedata
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polysense.core.random import uniforms
from polysense.modalities.text.typos import graphemes, with_typos

MIXED = (
    "Grüße, naïve ca\u0301fe\u0301! Привет мир 12.5 한국어 हिन्दी नमस्ते ภาษาไทย 日本語 שלום العَرَبِيَّة "
    "👩\u200d👩\u200d👧 e\u0301\u0323 don't\r\n"
)


def draws(seed: int) -> partial[np.ndarray]:
    return partial(_draw, seed)


def _draw(seed: int, num: int) -> np.ndarray:
    return uniforms(num, seed, 3, 7)


def scripts(text: str) -> set[str]:
    return {unicodedata.name(each, "").partition(" ")[0] for each in text if each.isalpha()}


@given(st.text() | st.sampled_from([MIXED, MIXED * 3]), st.floats(0, 1), st.integers(0, 2**60))
@example(MIXED, 1.0, 0)
@example("각\u11a8ᄀ\u1161", 1.0, 5)
def test_letters_stay_whole_and_in_their_script(text: str, rate: float, seed: int) -> None:
    typed = with_typos(text, rate, draws(seed))
    assert typed == with_typos(text, rate, draws(seed))
    assert with_typos(text, 0.0, draws(seed)) == text
    before, after = graphemes(text), graphemes(typed)
    assert len(after) <= 2 * len(before)
    assert scripts(typed) <= scripts(text)
    # What is new is a letter without marks: that of a neighboring key.
    assert all(len(each) == 1 and each.isalpha() for each in set(after) - set(before))
    others = [each for each in before if not each[0].isalpha()]
    assert [each for each in after if not each[0].isalpha()] == others
    words = "".join("x" if each[0].isalpha() else " " for each in before).split()
    assert len("".join("x" if each[0].isalpha() else " " for each in after).split()) == len(words)


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_as_many_letters_are_mistyped_as_asked_for(rate: float) -> None:
    text = "abcdefghijklmnopqrstuvwxyz" * 200
    num = sum(draws(1)(3 * len(text)).reshape(-1, 3)[:, 0] < rate)
    typed = with_typos(text, rate, draws(1))
    assert 0.8 * rate < num / len(text) < 1.2 * rate
    assert abs(len(typed) - len(text)) < 0.2 * rate * len(text), "as many are left out as are doubled"


def test_all_kinds_of_errors_are_made() -> None:
    typed = {with_typos("abc", 0.2, draws(seed)) for seed in range(4000)}
    assert {"abc", "aabc", "acb", "ac", "anc"} <= typed
    assert not any(each[:1] not in "abqwsz" for each in typed), "a key beside it, or the next letter"
    assert {each for each in typed if len(each) == 1} == set()


@pytest.mark.parametrize(
    ("letter", "keys"), [("G", "FHVBTY"), ("а", "впсмке"), ("φ", "δγψωερτ"), ("ä", ""), ("漢", ""), ("क", "")]
)
def test_keys_are_those_of_the_letters_own_keyboard(letter: str, keys: str) -> None:
    typed = {with_typos(letter, 1.0, draws(seed)) for seed in range(300)}
    assert {letter * 2} <= typed
    assert typed - {letter * 2} <= set(keys)
    assert bool(typed - {letter * 2}) == bool(keys)

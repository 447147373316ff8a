"""Halves of characters become whole ones, or the sign for none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.unicode_text import ODD_SPACES, mended


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("\ud83d\ude00", "\U0001f600"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("caf\u00e9", "caf\u00e9"),
        ("", ""),
    ],
)
def test_halves_are_joined_or_replaced(text: str, whole: str) -> None:
    assert mended(text) == whole


@given(st.text(st.characters(), max_size=20))
def test_what_is_mended_can_be_written(text: str) -> None:
    assert mended(mended(text)) == mended(text)
    mended(text).encode()


def test_spaces_are_none_and_each_once() -> None:
    assert len(set(ODD_SPACES)) == len(ODD_SPACES) == 15
    assert not ODD_SPACES.strip()
    assert " " not in ODD_SPACES

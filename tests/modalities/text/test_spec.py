"""Whether texts are English, which decides among pretrained backbones."""

from __future__ import annotations

import pytest

from polysense.modalities.text.spec import is_mostly_english

ENGLISH = ["the cat sat on the mat and it was not amused", "to be or not to be"] * 5
GERMAN = ["der Hund und die Katze sind nicht im Haus", "das ist ein Haus mit Garten"] * 5


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (ENGLISH, True),
        (GERMAN, False),
        (["el perro de la casa no es grande", "que tal"], False),
        (["кот сидит на ковре"], False),
        (["猫がマットの上に座った"], False),
        (["هذا كتاب جديد"], False),
        ([["the cat is here"], ["and it is not amused"], None, 7], True),
        (["red apple", "Café de Paris", "I like it"], True),
        (["naïve fiancée in the café, and that is it"], True),
        ([], True),
    ],
)
def test_mostly_english(texts: list[object], expected: bool) -> None:
    assert is_mostly_english(texts) is expected

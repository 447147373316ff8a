"""Writes what somebody with bad eyes and fast fingers might note about a digit.

The idea: notes of every worth, from the digit's name to nothing at all, some of them plainly wrong, with typing errors,
so that a model must weigh a note and not look it up.
"""

from __future__ import annotations

import numpy as np

__all__ = ["write_note"]

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAMING = (
    "looks like a {a}",
    "I think it is {a}",
    "probably {a}",
    "reads {a} to me",
    "{a}?",
    "should be a {a} I guess",
    "that is a {a}",
    "most likely {a}, but smudged",
)
_PAIR = ("either {a} or {b}", "{a} or maybe {b}", "can't tell whether {a} or {b}", "{a}... or {b}?")
_RANGE = ("between {a} and {b}", "somewhere from {a} to {b}", "not below {a} and not above {b}")
_GROUPS = (
    (frozenset({1, 3, 5, 7, 9}), "an odd number"),
    (frozenset({0, 2, 4, 6, 8}), "an even number"),
    (frozenset({0, 1, 2, 3, 4}), "one of the small ones"),
    (frozenset({5, 6, 7, 8, 9}), "one of the big ones"),
    (frozenset({0, 6, 8, 9}), "has a closed loop"),
    (frozenset({1, 4, 7}), "only straight strokes"),
    (frozenset({2, 3, 5}), "open curves, no loop"),
)
_USELESS = (
    "hard to read",
    "smudged",
    "bad microphone",
    "no idea",
    "written in a hurry",
    "please check again",
    "blurry",
)

# The shares of notes that name the digit, name two, give a range or a group; the rest says nothing.
_SHARES = (0.60, 0.16, 0.08, 0.08)
_WRONG = 0.06
_TYPO = 0.05


def _spell(digit: int, draws: np.random.Generator) -> str:
    return _WORDS[digit] if draws.random() < 0.7 else str(digit)


def _mistype(word: str, draws: np.random.Generator) -> str:
    """Drops, doubles or swaps a letter."""
    if len(word) < 3 or draws.random() >= _TYPO:
        return word
    at = int(draws.integers(len(word) - 1))
    edits = (
        word[:at] + word[at + 1 :],
        word[: at + 1] + word[at:],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    return edits[int(draws.integers(len(edits)))]


def write_note(digit: int, draws: np.random.Generator) -> str:
    """Writes a note about a digit; about another one, 6% of the time.

    Args:
        digit: 0-9.
        draws: What to write.

    Returns:
        One to eight words.
    """
    if draws.random() < _WRONG:
        digit = int((digit + draws.integers(1, 10)) % 10)
    kind = int(np.searchsorted(np.cumsum(_SHARES), draws.random(), side="right"))
    if kind == 0:
        note = str(draws.choice(_NAMING)).format(a=_spell(digit, draws))
    elif kind == 1:
        pair = [digit, int((digit + draws.integers(1, 10)) % 10)]
        a, b = draws.permutation(pair).tolist()
        note = str(draws.choice(_PAIR)).format(a=_spell(a, draws), b=_spell(b, draws))
    elif kind == 2:
        low = max(digit - int(draws.integers(0, 3)), 0)
        high = min(max(digit + int(draws.integers(0, 3)), low + 1), 9)
        note = str(draws.choice(_RANGE)).format(a=_spell(low, draws), b=_spell(high, draws))
    elif kind == 3:
        note = str(draws.choice([text for members, text in _GROUPS if digit in members]))
    else:
        note = str(draws.choice(_USELESS))
    return " ".join(_mistype(word, draws) for word in note.split(" "))

"""Damage to texts: typos, words left out, and letters of the other case.

They are made in the text itself, since tokens of a typo are other tokens, and feature vectors read the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from polysense.core.corruption import Corruption, DamageCell
from polysense.errors import DecodeError
from polysense.modalities.text.reading import read_text

__all__ = ["CORRUPTIONS"]

_TYPOS = (0.025, 0.05, 0.1, 0.2, 0.4)  # of the characters
_OMITTED = (0.1, 0.2, 0.3, 0.45, 0.6)  # of the words
_CASE = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the words
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MOST_CHARACTERS = 100_000  # of a text that are damaged; what follows stays


def _each(damage: Callable[[str, int, np.random.Generator], str]) -> DamageCell:
    """Damages a text, or each text of a list; what is no text stays, and is unreadable as it was."""

    def of_cell(cell: object, severity: int, draws: np.random.Generator) -> object:
        if isinstance(cell, list):
            return [of_cell(part, severity, draws) for part in cell]
        if cell is None:
            return None
        try:
            text = read_text(cell)
        except DecodeError:
            return cell
        damaged = damage(text[:_MOST_CHARACTERS], severity, draws) + text[_MOST_CHARACTERS:]
        # A text of nothing would be a missing cell, which is another question.
        return damaged if damaged.strip() else text

    return of_cell


def _typos(text: str, severity: int, draws: np.random.Generator) -> str:
    """Neighboring characters exchanged, a character left out, doubled, or another letter in its place."""
    chances = draws.random((len(text), 2))
    letters = draws.integers(0, len(_LETTERS), len(text))
    result, i = [], 0
    while i < len(text):
        character = text[i]
        if chances[i, 0] >= _TYPOS[severity - 1] or character.isspace():
            result.append(character)
        elif chances[i, 1] < 0.25 and i + 1 < len(text):
            result += [text[i + 1], character]
            i += 1
        elif chances[i, 1] < 0.5:
            pass
        elif chances[i, 1] < 0.75:
            result += [character, character]
        else:
            result.append(_LETTERS[letters[i]])
        i += 1
    return "".join(result)


def _omission(text: str, severity: int, draws: np.random.Generator) -> str:
    words = text.split()
    return " ".join(
        word for word, draw in zip(words, draws.random(len(words)), strict=True) if draw >= _OMITTED[severity - 1]
    )


def _case(text: str, severity: int, draws: np.random.Generator) -> str:
    pieces = re.split(r"(\s+)", text)
    chances = draws.random(len(pieces))
    return "".join(
        piece.swapcase() if chance < _CASE[severity - 1] else piece
        for piece, chance in zip(pieces, chances, strict=True)
    )


CORRUPTIONS = (
    Corruption(name="typos", of_cell=_each(_typos)),
    Corruption(name="words left out", of_cell=_each(_omission)),
    Corruption(name="the other case", of_cell=_each(_case)),
)

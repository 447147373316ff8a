"""What describes a text: its length, how many of its signs are none of words, and its language."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from polysense.core.descriptor import CategoryDescriptor, Descriptor
from polysense.core.modality_spec import parts
from polysense.core.schema import Column
from polysense.modalities.text.language import language_of

__all__ = ["CATEGORIES", "DESCRIPTORS"]


def _characters(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    return float(sum(len(str(part)) for part in parts(cell)))


def _words(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """Words between spaces; a script without spaces has few, and is told apart by its characters."""
    return float(sum(len(str(part).split()) for part in parts(cell)))


def _digits(column: Column, cell: object, items: Sequence[np.ndarray]) -> float:
    """The share of characters that are digits, in percent."""
    text = "".join(str(part) for part in parts(cell))
    return 100.0 * sum(map(str.isdigit, text)) / len(text) if text else math.nan


def _language(cell: object) -> str | None:
    return language_of(" ".join(str(part) for part in parts(cell)))


DESCRIPTORS = (
    Descriptor(
        name="characters",
        low="{column} shorter than {value} characters",
        high="{column} of {value} characters or more",
        measure=_characters,
        reads_items=False,
    ),
    Descriptor(
        name="words",
        low="{column} of fewer than {value} words",
        high="{column} of {value} words or more",
        measure=_words,
        reads_items=False,
    ),
    Descriptor(
        name="digits",
        low="{column} with less than {value}% digits",
        high="{column} with {value}% digits or more",
        measure=_digits,
        reads_items=False,
    ),
)

CATEGORIES = (
    CategoryDescriptor(
        name="language",
        tell=_language,
        advice="if they are no mistake, take a backbone that knows all of these languages; else leave the rows out",
    ),
)

"""Descriptors of cells: numbers, such as a clip's duration, and categories, such as the language of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polysense.core.schema import Column

__all__ = ["CategoryDescriptor", "Descriptor"]


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """One of them, for audits, which look for the rows for which a model is worse.

    Attributes:
        name: Of the number, unique in its modality.
        low: Words for cells below a value, with fields for the column's name and the value: "{column} shorter than
            {value} s".
        high: Likewise for those at or above it.
        measure: From a fitted column, a cell as the table has it and its items, at least one, to the number; NaN where
            there is none.
        reads_items: Whether the items are looked at; else they may be left out, and nothing has to be decoded.
    """

    name: str
    low: str
    high: str
    measure: Callable[[Column, object, Sequence[np.ndarray]], float]
    reads_items: bool = True


@dataclass(frozen=True, kw_only=True)
class CategoryDescriptor:
    """What a cell is described by where that is no number, for checks of tables.

    Attributes:
        name: Of what is told, unique among the descriptors of its modality: "language".
        tell: From a cell, as the table has it, to what it is ("German"); None where that is not clear. It is asked for
            some of a column's cells, a millisecond each at most.
        advice: What to do where a few cells differ from most; empty where that is as it should be.
    """

    name: str
    tell: Callable[[object], str | None]
    advice: str = ""

"""CellParts: what a cell is made of, such as words, patches or stretches of time, and the cell without some of them.

An explanation asks what a prediction would be if a part were not there. The answer takes the whole way that a cell
takes, preprocessing and feature vectors included, so it holds for any encoder and any estimator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

__all__ = ["CellParts", "Place", "StretchParts", "stretches"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part lies in its cell.

    Attributes:
        item: Which of the cell's items, from 0; of several that are one part, the first.
        name: In words: "0.4 to 0.6 s", "row 2, column 3", a word.
        box: Left, top, right and bottom as shares of the item's picture (`ModalitySpec.preview`); None where it is
            drawn in no picture.
        span: Its first and its last character (exclusive) in the item, which is a text; None where it is none.
        num_items: How many items are one part.
    """

    item: int
    name: str
    box: tuple[float, float, float, float] | None = None
    span: tuple[int, int] | None = None
    num_items: int = 1


class CellParts(ABC):
    """One cell, in parts.

    Attributes:
        removed: What stands in the place of a part that is removed, as the end of "a removed part is ...".
        closes_up: Whether nothing stands there, so that what follows moves up.
        places: Where each part lies, at least one.
        texts: The items, where they are texts.
    """

    removed: ClassVar[str]
    closes_up: ClassVar[bool] = False
    places: Sequence[Place]
    texts: Sequence[str] = ()

    @abstractmethod
    def without(self, parts: Collection[int]) -> tuple[object, list[np.ndarray]]:
        """The cell without some parts, and its items; no items where nothing is left of it."""


def stretches(length: int, most: int, shortest: int = 1) -> list[tuple[int, int]]:
    """Equal stretches of something, [start, end) each: at most `most`, at least one, of `shortest` at least.

    Args:
        length: In steps.
        most: How many.
        shortest: Steps of one, unless the whole is shorter.
    """
    num = max(1, min(most, length // max(shortest, 1)))
    edges = [round(i * length / num) for i in range(num + 1)]
    return list(pairwise(edges))


class StretchParts(CellParts):
    """Stretches of items that run in time, all channels together.

    Attributes:
        blank: The value of a removed stretch.
        noun: What an item is called.
    """

    blank: ClassVar[float]
    noun: ClassVar[str]

    def __init__(self, cell: object, items: Sequence[np.ndarray], most: int, shortest: int = 1) -> None:
        """Divides the items.

        Args:
            cell: As the table has it.
            items: At least one, steps first.
            most: Parts of all items together, at most; each item has one at least.
            shortest: Steps of a stretch, unless the item is shorter.
        """
        self._cell, self._items = cell, list(items)
        self.places: list[Place] = []
        self._ranges: list[tuple[int, int, int]] = []
        for item, values in enumerate(self._items):
            which = f"{self.noun} {item + 1}, " if len(self._items) > 1 else ""
            length = max(len(values), 1)
            for start, end in stretches(len(values), max(1, most // len(self._items)), shortest):
                box = (start / length, 0.0, end / length, 1.0)
                self.places.append(Place(item=item, name=f"{which}{self.named(start, end)}", box=box))
                self._ranges.append((item, start, end))

    @abstractmethod
    def named(self, start: int, end: int) -> str:
        """A stretch of steps in words."""

    def without(self, parts: Collection[int]) -> tuple[object, list[np.ndarray]]:
        """See `CellParts`."""
        items = list(self._items)
        for item in {self._ranges[part][0] for part in parts}:
            items[item] = items[item].copy()
        for part in parts:
            item, start, end = self._ranges[part]
            items[item][start:end] = self.blank
        return self._cell, items

"""What was made of cells before: decoded items, and features of a frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polysense.core.geometry import Placement

__all__ = ["Cut", "DecodedCell", "StoredCell", "StoredItem"]


class Cut(NamedTuple):
    """What of a cell was left out.

    Attributes:
        limit: The setting that it goes by, with its value: "max_seconds=30".
        is_auto: Whether the limit was chosen from the training cells.
    """

    limit: str
    is_auto: bool


@dataclass(frozen=True, eq=False, slots=True)
class DecodedCell:
    """A cell as its column's preprocessing decodes it, before the cheap rest (such as padding with a mean color).

    Attributes:
        items: In order.
        placement: Where they lie in the original; None where they have no places there, or each its own.
        cuts: What was left out.
    """

    items: tuple[np.ndarray, ...]
    placement: Placement | None = None
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class StoredItem:
    """A backbone's features of one item.

    Attributes:
        layers: float32 [tokens, width] each, from the input on, then the levels of a pyramid from fine to coarse; only
            what is valid.
        length: Of the item itself, in its own units (tokens of text, samples; else 1).
    """

    layers: tuple[np.ndarray, ...]
    length: int

    @property
    def num_bytes(self) -> int:
        """What it takes on disk."""
        return sum(layer.nbytes for layer in self.layers)


@dataclass(frozen=True, eq=False, slots=True)
class StoredCell:
    """A backbone's features of one cell.

    Attributes:
        items: Of its items, at least one, in order.
        shelf: The network that they come from, see `data.feature_store`.
    """

    items: tuple[StoredItem, ...]
    shelf: str

"""Features of a frozen backbone that were computed before, for items and for the cells that hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["StoredCell", "StoredItem"]


@dataclass(frozen=True, eq=False, slots=True)
class StoredItem:
    """A backbone's features of one item.

    Attributes:
        layers: float32 [tokens, width] each, from the input on; only what is valid.
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

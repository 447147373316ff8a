"""The truth of a ranking."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node

__all__ = ["RankingTruth"]


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class RankingTruth(Truth):
    """Which item each row's user chose.

    Attributes:
        items: The item's number, from 1; 0: one that the catalogue lacks.
        users: The user's number, or below 0 a hash of their key.
    """

    items: Int[Tensor, " batch"]
    users: Int[Tensor, " batch"]

"""What was learned of a column of categories, and what an encoder can ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Column, Requirements

__all__ = ["CategoryColumn", "CategoryRequirements"]


@dataclass(frozen=True, kw_only=True)
class CategoryColumn(Column):
    """A column of categories.

    Attributes:
        num_categories: Ids run over [0, num_categories); 0 is "unknown".
        categories: The categories that have an id, in the order of their ids from 1 on; none where they are hashed.
        spellings: How the training table mostly spells each of them ("True" for true).
        num_hashes: Values in one item: the hashes of a hashed category; else 1.
        collision_rate: Share of the distinct training values that share all their hashes with another; None where ids
            are looked up.
    """

    modality: str = "category"
    num_categories: int
    categories: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    num_hashes: int = 1
    collision_rate: float | None = None

    @property
    def is_hashed(self) -> bool:
        """Whether values are hashed into buckets, not looked up."""
        return self.collision_rate is not None

    @property
    def num_ids(self) -> int:
        """See `Column`."""
        return self.num_categories


@dataclass(frozen=True, kw_only=True)
class CategoryRequirements(Requirements):
    """What an encoder asks of a column of categories.

    Attributes:
        hash_buckets: Buckets that categories are hashed into.
        num_hashes: Hash functions, each with its own buckets.
    """

    hash_buckets: int | None = None
    num_hashes: int | None = None

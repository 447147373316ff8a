"""What was learned of the users and items of a ranking."""

from __future__ import annotations

from dataclasses import dataclass

from polysense.core.schema import Target

__all__ = ["RankingTarget"]


@dataclass(frozen=True, kw_only=True)
class RankingTarget(Target):
    """A ranking. Its `columns` are the item's key, the user's, and where there are any those of the time and rating.

    Attributes:
        item_columns: The input columns that describe the item; all others describe the user or the circumstances.
        num_items: Items of the catalogue; they are numbered from 1, in its order.
        num_users: Users of the training rows, numbered from 1.
        history: Items of a user's history that a head reads, the last ones.
        excludes_seen: Whether items that a user has chosen before are left out of a ranking.
        longest: The 95th percentile of the users' items: lengths of prompts at prediction.
    """

    task: str = "ranking"
    item_columns: tuple[str, ...] = ()
    num_items: int = 1
    num_users: int = 1
    history: int = 50
    excludes_seen: bool = True
    longest: int = 1

    @property
    def typical_prompt(self) -> int:
        """The user's number and the items that they have chosen."""
        return 1 + self.longest

"""Recipes of rankings: which columns are the keys of users and items, and which rows judge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess
from polysense.data.split import FractionSplitConfig, SplitConfig
from polysense.data.tables.sources import Table
from polysense.data.time_split import TimeSplitConfig
from polysense.errors import ColumnError
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.recipe import Recipe
from polysense.tasks.ranking.heads.two_tower import TwoTowerHeadConfig
from polysense.tasks.ranking.target import RankingTargetConfig

__all__ = ["ITEMS", "RANKING", "USERS", "for_ranking", "ranking_inputs"]

RANKING = "ranking"
"""The target's name in such a recipe."""

USERS, ITEMS = "users", "items"
"""The names of the joined tables whose keys are those of users and items."""

_END = r"([ _.-]?(id|no|number|key|code))?$"
_USER = re.compile(
    rf"(^|[ _.-])(user|customer|client|reader|member|account|person|visitor|listener|viewer){_END}", re.I
)
_ITEM = re.compile(
    rf"(^|[ _.-])(item|product|movie|film|article|song|track|book|sku|asin|video|news|recipe|business|place){_END}",
    re.I,
)
_TIME = re.compile(r"(^|[ _.-])(time|timestamp|date|datetime|ts|when)$", re.I)
_RATING = re.compile(r"(^|[ _.-])(rating|ratings|stars)$", re.I)


_RATE = 3e-3  # embeddings are hit in few batches each
_LONGER = 2  # MovieLens 100K gains for 15 epochs of 80 steps


@dataclass(frozen=True, kw_only=True)
class _Columns:
    user: str
    item: str
    time: str | None
    rating: str | None


def _columns(table: Table, named: Sequence[str]) -> _Columns:
    """Which column is which: by the tables that are joined, by what the user named, or by their names.

    Raises:
        ColumnError: A user's or an item's key can't be told.
    """
    joined = {column for join in table.joins.values() for column in join.columns}
    own = [name for name in table.names if name not in joined]

    def key_of(side: str, pattern: re.Pattern[str], others: Sequence[str]) -> str:
        join = table.joins.get(side)
        if join is not None and len(join.on) == 1:
            return next(iter(join.on))
        matching = [name for name in own if pattern.search(name) and name not in others]
        chosen = [name for name in matching if name in named] or matching
        if side == ITEMS and not matching and len(named) == 1:
            chosen = [*named]
        if len(chosen) == 1:
            return chosen[0]
        what = side.removesuffix("s")
        raise ColumnError(
            f"{table.name}: which column is the {what}'s key can't be told: found "
            f"{', '.join(map(repr, chosen)) or 'none'} among {', '.join(map(repr, own))}; join a table of {side} by it "
            f"(--{side} TABLE), name it (--target COLUMN), or write a recipe with data.targets.{RANKING}.{what}"
        )

    user = key_of(USERS, _USER, [])
    item = key_of(ITEMS, _ITEM, [user])
    if user == item:
        raise ColumnError(f"{table.name}: users and items are both joined by {user!r}; expected a key of each")

    def matching(pattern: re.Pattern[str]) -> str | None:
        return next((name for name in own if pattern.search(name) and name not in (user, item)), None)

    return _Columns(user=user, item=item, time=matching(_TIME), rating=matching(_RATING))


def ranking_inputs(table: Table, guesses: Sequence[ColumnGuess], named: Sequence[str]) -> list[ColumnGuess]:
    """The guesses with keys, time and rating no inputs; where nothing else is one, the item's key is.

    Raises:
        ColumnError: A user's or an item's key can't be told.
    """
    columns = _columns(table, named)
    said = {
        columns.user: "ignored as an input: it is the user's key",
        columns.item: "ignored as an input: it is the item's key",
        columns.time: "ignored as an input: it says when an item was chosen",
        columns.rating: "ignored as an input: it is known only once an item was chosen",
    }
    results = [
        replace(guess, role=Role.IGNORED, reason=said[guess.name], groups=False) if guess.name in said else guess
        for guess in guesses
    ]
    if any(guess.role is Role.INPUT for guess in results):
        return results
    return [
        replace(guess, role=Role.INPUT, modality="category", multiple=False, settings={}, warnings=(), cause=None,
                reason="the item's key: nothing else describes users and items")
        if guess.name == columns.item
        else guess
        for guess in results
    ]  # fmt: skip


def for_ranking(recipe: Recipe, table: Table, named: Sequence[str]) -> Recipe:
    """The recipe with a ranking as its target.

    Where there are times, the last tenth of the rows is the test and what is shortly before it validates.

    Args:
        recipe: Of the columns, without a target.
        table: The choices, with what is joined to them.
        named: The columns that the user named.
    """
    columns = _columns(table, named)
    split: SplitConfig = FractionSplitConfig(validation=0.1, test=0.1)
    if columns.time is not None:
        split = TimeSplitConfig(time=columns.time, validation=0.1, test=0.1, group=columns.user)
    target = RankingTargetConfig(
        user=columns.user, item=columns.item, time=columns.time, rating=columns.rating,
    )  # fmt: skip
    batch_size = 128 if len(table) < 2_000 else 512 if len(table) < 50_000 else 1024
    return replace(
        recipe,
        data=replace(recipe.data, targets={RANKING: target}, split=split, weight=None),
        model=replace(recipe.model, fusion=ConcatFusionConfig(), heads={RANKING: TwoTowerHeadConfig()}, objectives={}),
        training=replace(
            recipe.training,
            epochs=_LONGER * recipe.training.epochs,
            batch_size=batch_size,
            optimizer=replace(recipe.training.optimizer, lr=_RATE),
        ),
    )

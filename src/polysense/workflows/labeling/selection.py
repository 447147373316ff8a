"""Rows to label next: most by a strategy, a share at random, so that a held-out score stays honest.

A strategy's rows are no sample of the table: of hard rows a score is too low, and once they are taken what is left is
too easy. So some rows are held out from the start by a hash of their numbers. No strategy ever chooses them, the random
share of every batch is drawn from them alone, and the learner is not to be fitted on them while a score is read off
them: at any time those with a label are a plain random sample of the table. Groups (a speaker, a patient) are held out
whole, so that the score is of groups that the learner has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from polysense.core.random import fold, uniforms
from polysense.errors import ConfigError
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import StrategyConfig

__all__ = ["HELD_OUT", "RANDOM_SHARE", "Selection", "held_out_rows", "next_rows"]

HELD_OUT = 0.2
"""Of all rows that scores are read off."""

RANDOM_SHARE = 0.2
"""Of the rows of a batch that are drawn at random, from the rows held out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection:
    """Rows to label next.

    Attributes:
        rows: Their numbers, in the order in which to show them.
        is_random: Which of them are held out: for the score, not for the learner.
    """

    rows: Int[np.ndarray, " chosen"]
    is_random: Bool[np.ndarray, " chosen"]


def held_out_rows(
    num_rows: int, share: float = HELD_OUT, *, seed: int = 0, groups: Sequence[object] | np.ndarray | None = None
) -> Bool[np.ndarray, " rows"]:
    """Which rows are held out, the same whenever it is asked.

    Args:
        num_rows: Of the table.
        share: Of the rows, or of the groups.
        seed: Another seed, other rows.
        groups: Per row what must stay together; None is a group of its own.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"the held-out share: found {share:g}, expected at least 0 and below 1")
    own = uniforms(1, seed, "held out for labeling", np.arange(num_rows))[..., 0]
    if groups is not None:
        names = list(groups)
        keys = {name: int(fold(seed, "held out group", str(name)).view(np.int64)) for name in set(names) - {None}}
        known = np.array([keys.get(name, 0) for name in names], dtype=np.int64)
        drawn = uniforms(1, known)[..., 0]
        own = np.where(np.array([name is not None for name in names]), drawn, own)
    result: np.ndarray = own < share
    return result


def next_rows(
    strategy: StrategyConfig,
    learner: Learner,
    unlabeled_rows: Sequence[int] | Int[np.ndarray, " rows"],
    count: int,
    generator: np.random.Generator,
    *,
    held_out: Bool[np.ndarray, " all"] | None = None,
    share: float = RANDOM_SHARE,
) -> Selection:
    """Chooses the next batch.

    Args:
        strategy: Of the rows that the learner learns from.
        learner: Fitted on labels of rows that are not held out.
        unlabeled_rows: Without a label, held out or not.
        count: Rows in all; fewer if there are no more.
        generator: Of what is drawn.
        held_out: `held_out_rows`; None: none is.
        share: Of the batch that is drawn from the rows held out, on average, as long as there are any.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the random share: found {share:g}, expected 0 to 1")
    rows = np.unique(np.asarray(unlabeled_rows, dtype=np.int64))
    is_held = np.zeros(len(rows), dtype=bool) if held_out is None else held_out[rows]
    reserve, pool = rows[is_held], rows[~is_held]
    # A batch of one row has a random one now and then.
    num_random = min(int(count * share + generator.random()), len(reserve))
    num_chosen = min(count - num_random, len(pool))
    num_random = min(count - num_chosen, len(reserve))
    drawn = generator.permutation(reserve)[:num_random]
    chosen = strategy.choose(learner, pool, num_chosen, generator)
    result, is_random = np.empty(len(drawn) + len(chosen), np.int64), np.zeros(len(drawn) + len(chosen), bool)
    is_random[generator.permutation(len(result))[: len(drawn)]] = True
    result[is_random], result[~is_random] = drawn, chosen
    return Selection(rows=result, is_random=is_random)

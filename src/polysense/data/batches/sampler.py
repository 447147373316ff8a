"""Which rows a step trains on: a pure function of (seed, epoch, step).

Nothing is remembered between steps, so resuming at step s is starting there, and any number of ranks sees the same
global batches: rank r of R takes every R-th row of each. Which of the shuffled rows make a step is `batching`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from polysense.data.batches.batching import Batching, RowBatchingConfig
from polysense.data.batches.collate import FILLER
from polysense.data.batches.sampling import Sampler, Shuffle, draw_numbers

__all__ = ["StepSampler"]


class StepSampler:
    """The order of training rows.

    Args:
        num_rows: Rows of the table.
        batch_size: Rows of a step over all ranks together.
        seed: Decides the order, together with the epoch.
        rank: Which of the `world_size` processes this is.
        world_size: Processes that train together.
        accumulate: Batches that each step is cut into. A step of fewer rows has batches of one filler row.
        batching: Which rows make a step; None: `batch_size` of them, as they come.
        sampler: How often each row is drawn in an epoch; None: once.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        batching: Batching | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        assert num_rows > 0, "there are no rows to draw from"
        assert batch_size > 0, f"batch_size must be positive, is {batch_size}"
        assert 0 <= rank < world_size, f"rank must be from 0 to {world_size - 1}, is {rank}"
        assert accumulate > 0, f"accumulate must be positive, is {accumulate}"
        self.num_rows = num_rows
        self.accumulate = accumulate
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._sampler = Shuffle(num_rows) if sampler is None else sampler
        self._batching = RowBatchingConfig().build(batch_size) if batching is None else batching
        # Of the epoch that was asked for last: cutting 100,000 rows by tokens takes up to a second.
        self._steps: tuple[int, Sequence[np.ndarray]] | None = None
        self._draws: tuple[int, Sequence[np.ndarray]] | None = None

    def num_batches(self, epoch: int) -> int:
        """Batches of an epoch, the same on every rank: `accumulate` for each step."""
        num_steps = self._batching.num_steps(self.num_rows)
        return self.accumulate * (len(self.steps(epoch)) if num_steps is None else num_steps)

    def steps(self, epoch: int) -> Sequence[np.ndarray]:
        """The rows of each step of an epoch, over all ranks."""
        if self._steps is None or self._steps[0] != epoch:
            self._steps = epoch, self._batching.steps(self.order(epoch), self.seed, epoch)
        return self._steps[1]

    def order(self, epoch: int) -> np.ndarray:
        """The rows of an epoch in the order of training, over all ranks; int64 [num_rows]."""
        return self._sampler.order(self.seed, epoch)

    @property
    def repeats(self) -> bool:
        """Whether an epoch may draw a row several times."""
        return self._sampler.repeats

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """This rank's rows of each batch of an epoch from the batch `start` on.

        A rank that would get no row of a batch gets one filler row, so that every rank makes every step.
        """
        yield from self._parts(self.steps(epoch), epoch, start, FILLER)

    def draws(self, epoch: int, start: int = 0) -> Iterator[list[int]]:
        """Of each row of `batches` how many times the epoch has drawn it before, over all ranks."""
        if self._draws is None or self._draws[0] != epoch:
            self._draws = epoch, draw_numbers(self.steps(epoch))
        yield from self._parts(self._draws[1], epoch, start, 0)

    def _parts(self, steps: Sequence[np.ndarray], epoch: int, start: int, filler: int) -> Iterator[list[int]]:
        """What belongs to this rank's rows of each batch."""
        for index in range(start, self.num_batches(epoch)):
            step, part = divmod(index, self.accumulate)
            rows = steps[step]
            edges = len(rows) * part // self.accumulate, len(rows) * (part + 1) // self.accumulate
            yield rows[slice(*edges)][self.rank :: self.world_size].tolist() or [filler]

"""Partners: rows of the same epoch that are read beside each row of a batch, because the row is mixed with them.

Who they are is a function of (seed, epoch, row, draw) alone, so micro-batches, ranks and workers change nothing, and
under a sampler rare classes are partners as often as they are rows. The price is that they are decoded too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int

from polysense.core.batch import Batch
from polysense.core.random import fold, uniforms
from polysense.core.sample import Sample
from polysense.data.batches.collate import FILLER

__all__ = ["Partners", "partners_drawn", "varied_by_themselves"]

_FIRST_DRAW, _NUM_DRAWS = 1 << 10, 1 << 20  # how a partner's cells are numbered, so that they are varied by themselves

Collate = Callable[[Sequence[Sample]], Batch]


class Partners(ABC):
    """How many rows are read beside each, which they are, and what a batch is to do with them."""

    num: ClassVar[int]

    @abstractmethod
    def chosen(self, order: np.ndarray, rows: Sequence[int], draws: Sequence[int], epoch: int) -> list[int]:
        """The partners of a batch's rows: the first of each, then the second of each, and so on; a filler has fillers.

        Args:
            order: The rows of the whole epoch, as often as it draws each.
            rows: Of a batch.
            draws: Of each how many times the epoch has drawn it before.
            epoch: From 0.
        """

    @abstractmethod
    def beside(self, batch: Batch, partners: tuple[Batch, ...]) -> Batch:
        """The batch with its partners, from which nothing is drawn yet."""

    @abstractmethod
    def drawn(self, batch: Batch, epoch: int) -> Batch:
        """What `beside` gave, with what is drawn for each row."""

    def collated(self, collate: Collate, samples: Sequence[Sample]) -> Batch:
        """The batch of some samples, whose partners follow them as `chosen` has them."""
        size = len(samples) // (self.num + 1)
        first, *others = (collate(samples[start : start + size]) for start in range(0, len(samples), size))
        batch = self.beside(first, tuple(replace(other, unreadable=()) for other in others))
        return replace(batch, unreadable=tuple(cell for each in (first, *others) for cell in each.unreadable))


def partners_drawn(
    order: np.ndarray, rows: Sequence[int], draws: Sequence[int], seed: int, epoch: int, name: str
) -> Int[np.ndarray, " rows"]:
    """A row of the epoch for each row of a batch; a filler's is a filler."""
    own = np.asarray(rows, dtype=np.int64)
    ids = own + (np.asarray(draws, dtype=np.int64) << 40)
    chosen = order[(uniforms(1, seed, epoch, ids, name)[:, 0] * len(order)).astype(np.int64)]
    result: np.ndarray = np.where(own == FILLER, FILLER, chosen)
    return result


def varied_by_themselves(partners: Batch, ids: np.ndarray, seed: int, epoch: int, name: str) -> Batch:
    """Partners whose cells are varied unlike those of the same rows elsewhere in the epoch.

    Args:
        partners: Of a batch.
        ids: `coordinates()` of the batch.
        seed: Of the training.
        epoch: From 0.
        name: Tells several partners of a row apart.
    """
    numbers = fold(seed, epoch, ids, name) % np.uint64(_NUM_DRAWS)
    return replace(partners, draws=torch.from_numpy(numbers.astype(np.int64) + _FIRST_DRAW))

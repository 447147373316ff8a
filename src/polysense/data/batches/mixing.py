"""Mixup's draws: with which training row each row is mixed, and by how much.

Each row gets one share lambda from a Beta(alpha, alpha), for all of its columns, and a partner (Zhang et al., "mixup:
Beyond Empirical Risk Minimization", ICLR 2018, section 2). There the partner is another row of the batch; here it is
drawn from the epoch's rows over the whole table and read beside, so that both are a function of (seed, epoch, row)
alone: micro-batches, ranks and workers change nothing, and under a sampler rare classes are partners as often as they
are rows. The price is that every row is decoded and encoded twice. What is mixed are tokens, in `nn.mixing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from polysense.core.batch import Batch, MixedRows
from polysense.core.random import fold, uniforms
from polysense.core.sample import Sample
from polysense.data.batches.collate import FILLER

__all__ = ["Mixup", "collate_mixed"]

_FIRST_DRAW, _NUM_DRAWS = 1 << 10, 1 << 20  # how a partner's cells are numbered, so that they are varied by themselves


class Mixup:
    """Partners and shares.

    Args:
        alpha: Of the Beta distribution of the shares; small values give mostly shares near 0 and 1.
        seed: Of the training.
    """

    def __init__(self, alpha: float, seed: int) -> None:
        assert alpha > 0, f"alpha must be positive, is {alpha}"
        self._alpha, self._seed = alpha, seed

    def partners(self, order: np.ndarray, rows: Sequence[int], draws: Sequence[int], epoch: int) -> list[int]:
        """Each row's partner; a filler's is a filler.

        Args:
            order: The rows of the whole epoch, as often as it draws each.
            rows: Of a batch.
            draws: Of each how many times the epoch has drawn it before.
            epoch: From 0.
        """
        ids = np.asarray(rows, dtype=np.int64) + (np.asarray(draws, dtype=np.int64) << 40)
        chosen = order[(uniforms(1, self._seed, epoch, ids, "mixup partner")[:, 0] * len(order)).astype(np.int64)]
        result: list[int] = np.where(np.asarray(rows) == FILLER, FILLER, chosen).tolist()
        return result

    def drawn(self, batch: Batch, epoch: int) -> Batch:
        """A batch that was collated with its partners, with each row's share."""
        from scipy.special import betaincinv

        assert batch.mixed is not None, "the batch was collated without partners"
        ids = batch.coordinates()
        uniform = uniforms(2, self._seed, epoch, ids, "mixup")
        share = torch.from_numpy(betaincinv(self._alpha, self._alpha, uniform[:, 0])).float()
        numbers = fold(self._seed, epoch, ids, "mixup draw") % np.uint64(_NUM_DRAWS)
        partner = replace(batch.mixed.batch, draws=torch.from_numpy(numbers.astype(np.int64) + _FIRST_DRAW))
        own = torch.from_numpy(uniform[:, 1]) < share
        return replace(batch, mixed=MixedRows(batch=partner, share=share, own_presence=own))


def collate_mixed(collate: Callable[[Sequence[Sample]], Batch], samples: Sequence[Sample]) -> Batch:
    """The batch of the first half of some samples, with the second half's beside it."""
    half = len(samples) // 2
    partner = collate(samples[half:])
    ones = torch.ones(half)
    return replace(collate(samples[:half]), mixed=MixedRows(batch=partner, share=ones, own_presence=ones > 0))

"""Mixup's draws: with which training row each row is mixed, and by how much.

Each row gets one share lambda from a Beta(alpha, alpha), for all of its columns, and a partner (Zhang et al., "mixup:
Beyond Empirical Risk Minimization", ICLR 2018, section 2). There the partner is another row of the batch; here it is
drawn from the epoch's rows over the whole table and read beside, so that both are a function of (seed, epoch, row)
alone: micro-batches, ranks and workers change nothing, and under a sampler rare classes are partners as often as they
are rows. The price is that every row is decoded and encoded twice. What is mixed are tokens, in `nn.mixing`.

CutMix (Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
section 3.1) pastes a box of the partner's image into the row's in place of mixing both: its place is drawn anywhere, it
is cut off at the border, and its share of the image, counted in pixels, is the partner's share of the row: of the
targets and of all other columns, whose tokens are mixed by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
        pasted: The columns of images into which boxes of the partner's are pasted; none: all tokens are mixed.
    """

    def __init__(self, alpha: float, seed: int, pasted: Collection[str] = ()) -> None:
        assert alpha > 0, f"alpha must be positive, is {alpha}"
        self._alpha, self._seed, self._pasted = alpha, seed, tuple(pasted)

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
        shares = betaincinv(self._alpha, self._alpha, uniform[:, 0])
        boxes = None
        if self._pasted:
            # The share of the first column's pixels; another size of image has the nearest box that it can.
            height, width = batch.columns[self._pasted[0]].values.shape[-2:]
            boxes, shares = _boxes(shares, uniforms(2, self._seed, epoch, ids, "cutmix"), height, width)
        share = torch.from_numpy(shares).float()
        numbers = fold(self._seed, epoch, ids, "mixup draw") % np.uint64(_NUM_DRAWS)
        partner = replace(batch.mixed.batch, draws=torch.from_numpy(numbers.astype(np.int64) + _FIRST_DRAW))
        own = torch.from_numpy(uniform[:, 1]) < share
        mixed = MixedRows(
            batch=partner,
            share=share,
            own_presence=own,
            boxes=None if boxes is None else torch.from_numpy(boxes).float(),
            pasted=self._pasted,
        )
        return replace(batch, mixed=mixed)


def _boxes(shares: np.ndarray, places: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in whole pixels as fractions, [rows, 4], and what they leave of the image.

    Args:
        shares: [rows], what is to be left if no box is cut off.
        places: [rows, 2], uniforms: the middles.
        height: Of the image.
        width: Likewise.
    """
    sides = np.sqrt(1 - shares)
    edges = []
    for place, size in zip(places.T, (width, height), strict=True):
        middle, half = place * size, sides * size / 2
        edges.append([np.clip(np.rint(middle + sign * half), 0, size) / size for sign in (-1, 1)])
    (left, right), (top, bottom) = edges
    return np.stack([left, top, right, bottom], axis=1), 1 - (right - left) * (bottom - top)


def collate_mixed(collate: Callable[[Sequence[Sample]], Batch], samples: Sequence[Sample]) -> Batch:
    """The batch of the first half of some samples, with the second half's beside it."""
    half = len(samples) // 2
    partner = collate(samples[half:])
    ones = torch.ones(half)
    return replace(collate(samples[:half]), mixed=MixedRows(batch=partner, share=ones, own_presence=ones > 0))

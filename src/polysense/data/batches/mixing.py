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

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch

from polysense.core.batch import Batch, MixedRows
from polysense.core.random import uniforms
from polysense.data.batches.partners import Partners, partners_drawn, varied_by_themselves

__all__ = ["Mixup"]


class Mixup(Partners):
    """Partners and shares.

    Args:
        alpha: Of the Beta distribution of the shares; small values give mostly shares near 0 and 1.
        seed: Of the training.
        pasted: The columns of images into which boxes of the partner's are pasted; none: all tokens are mixed.
    """

    num = 1

    def __init__(self, alpha: float, seed: int, pasted: Collection[str] = ()) -> None:
        assert alpha > 0, f"alpha must be positive, is {alpha}"
        self._alpha, self._seed, self._pasted = alpha, seed, tuple(pasted)

    def chosen(self, order: np.ndarray, rows: Sequence[int], draws: Sequence[int], epoch: int) -> list[int]:
        result: list[int] = partners_drawn(order, rows, draws, self._seed, epoch, "mixup partner").tolist()
        return result

    def beside(self, batch: Batch, partners: tuple[Batch, ...]) -> Batch:
        ones = torch.ones(len(batch))
        return replace(batch, mixed=MixedRows(batch=partners[0], share=ones, own_presence=ones > 0))

    def drawn(self, batch: Batch, epoch: int) -> Batch:
        """The batch with each row's share."""
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
        partner = varied_by_themselves(batch.mixed.batch, ids, self._seed, epoch, "mixup draw")
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

"""Mosaic's draws: which three images stand beside each row's own, and which window of the four the model sees.

Four images of the model's size stand in two rows of two, the row's own first. A window of the same shape, at least as
large as one of them and at most as all four, is cut out of that and shrunk to one image's size; where four images meet
lies always in it. So a model sees things in more sizes, places and surroundings than were photographed (Bochkovskiy et
al., "YOLOv4: Optimal Speed and Accuracy of Object Detection", 2020, section 3.3). There the four are cut first and put
together afterwards; here they are whole, each varied by itself. What is drawn is put together in `data.augmentation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from polysense.core.batch import Batch, TiledRows
from polysense.core.random import uniforms
from polysense.data.batches.collate import FILLER
from polysense.data.batches.partners import Partners, partners_drawn, varied_by_themselves

__all__ = ["Mosaic"]

_PLACES = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])  # across and down


class Mosaic(Partners):
    """Partners and windows.

    Args:
        probability: With which a row's image becomes one of four.
        seed: Of the training.
        column: The images.
    """

    num = 3

    def __init__(self, probability: float, seed: int, column: str) -> None:
        assert 0 < probability <= 1, f"a probability is above 0 and at most 1, not {probability}"
        self._probability, self._seed, self._column = probability, seed, column

    def chosen(self, order: np.ndarray, rows: Sequence[int], draws: Sequence[int], epoch: int) -> list[int]:
        """As the base has it; a row that is left alone has fillers, for which nothing is decoded."""
        ids = np.asarray(rows, dtype=np.int64) + (np.asarray(draws, dtype=np.int64) << 40)
        tiled = self._tiled(ids, epoch)
        each = (partners_drawn(order, rows, draws, self._seed, epoch, f"mosaic {k}") for k in range(self.num))
        return [int(row) for partners in each for row in np.where(tiled, partners, FILLER)]

    def beside(self, batch: Batch, partners: tuple[Batch, ...]) -> Batch:
        nowhere = torch.eye(3).repeat(len(batch), self.num + 1, 1, 1)
        return replace(batch, tiled=TiledRows(others=partners, column=self._column, matrices=nowhere))

    def drawn(self, batch: Batch, epoch: int) -> Batch:
        assert batch.tiled is not None, "the batch was collated without partners"
        ids = batch.coordinates()
        others = tuple(
            varied_by_themselves(other, ids, self._seed, epoch, f"mosaic draw {k}")
            for k, other in enumerate(batch.tiled.others)
        )
        size = np.array(batch.columns[self._column].values.shape[:-3:-1], dtype=np.float64)  # width, height
        uniform = uniforms(3, self._seed, epoch, ids, "mosaic window")
        scale = 1 + uniform[:, 0]
        corner = uniform[:, 1:] * (2 - scale)[:, None] * size
        matrices = np.tile(np.eye(3), (len(batch), self.num + 1, 1, 1))
        matrices[:, :, [0, 1], [0, 1]] = (1 / scale)[:, None, None]
        matrices[:, :, :2, 2] = (_PLACES * size - corner[:, None]) / scale[:, None, None]
        return replace(batch, tiled=replace(batch.tiled, others=others, matrices=torch.from_numpy(matrices).float()))

    def _tiled(self, ids: np.ndarray, epoch: int) -> np.ndarray:
        result: np.ndarray = uniforms(1, self._seed, epoch, ids, "mosaic")[:, 0] < self._probability
        return result

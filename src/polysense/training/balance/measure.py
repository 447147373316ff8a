"""Each loss apart: what all columns together and each column alone lose on some rows.

Measured in evaluation mode (no dropout, no augmentation) with the weights as they are trained, in the main process
alone; the others get its numbers, so that all of them decide alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.training.distributed import Distributed
from polysense.training.protocols import ColumnsModel

__all__ = ["OwnLosses"]


class OwnLosses:
    """Measures a model's losses apart.

    Args:
        model: The model, a `torch.nn.Module`.
        rows: Batches with targets per split, read again at each measurement; "train" and "validation" are asked for.
        device: Where the model lies.
        distributed: This process among its peers.
    """

    def __init__(
        self,
        model: ColumnsModel,
        rows: Mapping[str, Iterable[Batch]],
        device: torch.device,
        distributed: Distributed,
    ) -> None:
        self._model, self._rows, self._device, self._distributed = model, dict(rows), device, distributed

    @property
    def splits(self) -> frozenset[str]:
        """The splits that there are rows of."""
        return frozenset(self._rows)

    def __call__(self, split: str) -> list[float]:
        """The losses over a split's rows.

        Args:
            split: One of `splits`.

        Returns:
            The loss of all columns together, then each column's own over the rows that have it; each the mean over
            rows, weighted and summed over targets like the training loss. NaN where there was no row.
        """
        return self._distributed.from_main(self._measure(self._rows[split]) if self._distributed.is_main else [])

    def _measure(self, batches: Iterable[Batch]) -> list[float]:
        module = self._model
        assert isinstance(module, nn.Module), "a model is a torch.nn.Module"
        sums: dict[str, Tensor] = {}
        was_training = module.training
        module.eval()
        try:
            with torch.no_grad():
                for batch in batches:
                    batch = batch.to(self._device)
                    for target, losses in self._model.own_losses(self._model.own_outputs(batch), batch).items():
                        pairs = torch.stack([torch.stack([loss.total, loss.count]) for loss in losses]).cpu().double()
                        sums[target] = sums[target] + pairs if target in sums else pairs
        finally:
            module.train(was_training)
        means = [math.nan] * (1 + len(self._model.column_encoders))
        for target, pairs in sums.items():
            for i, (total, count) in enumerate(pairs.tolist()):
                if count > 0:
                    mean = self._model.head_weights[target] * total / count
                    means[i] = mean if math.isnan(means[i]) else means[i] + mean
        return means

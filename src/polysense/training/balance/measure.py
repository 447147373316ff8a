"""Each loss apart: what all columns together and each column alone lose on some rows.

Measured in evaluation mode (no dropout, no augmentation) with the weights as they are trained, in the main process
alone; the others get its numbers, so that all of them decide alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.rows import RowLoss
from polysense.training.distributed import Distributed
from polysense.training.protocols import ColumnsModel

__all__ = ["OwnLosses", "unimodal_scores"]


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
        self._weights = dict(model.loss_weights)  # as the recipe says; a balance changes the model's

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
                    losses = self._model.losses(batch).losses
                    for target, named in self._model.unimodal_losses().items():
                        together = losses[named.together]
                        pairs = [torch.stack([together.total.sum(), together.count.sum()])]
                        for column, name in named.columns.items():
                            count = losses[name].count * batch.columns[column].present
                            pairs.append(torch.stack([losses[name].total.sum(), count.sum()]))
                        stacked = torch.stack(pairs).cpu().double()
                        sums[target] = sums[target] + stacked if target in sums else stacked
        finally:
            module.train(was_training)
        means = [math.nan] * (1 + len(self._model.column_encoders))
        for target, sum_of_pairs in sums.items():
            for i, (total, count) in enumerate(sum_of_pairs.tolist()):
                if count > 0:
                    mean = self._weights[self._model.unimodal_losses()[target].together] * total / count
                    means[i] = mean if math.isnan(means[i]) else means[i] + mean
        return means


def unimodal_scores(
    model: ColumnsModel, losses: Mapping[str, RowLoss], batch: Batch
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
    """How right each column is alone: exp(-loss) of each row, which for a class is its probability.

    Args:
        model: Which losses are the columns'.
        losses: What the forward gave for the batch.
        batch: Which rows have which columns.

    Returns:
        Per column the summed scores, and the summed weights of the rows that they are of.
    """
    sums: dict[str, Tensor] = {}
    for named in model.unimodal_losses().values():
        for column, name in named.columns.items():
            loss = losses[name]
            counted = batch.columns[column].present & (loss.count > 0)
            weights = counted * batch.weights * model.loss_weights[named.together]
            scores = torch.exp(-loss.total.detach() / loss.count.clamp(min=1e-12))
            pair = torch.stack([(scores * weights).sum(), weights.sum()])
            sums[column] = sums[column] + pair if column in sums else pair
    totals, counts = torch.stack(list(sums.values())).unbind(dim=1)
    return totals, counts

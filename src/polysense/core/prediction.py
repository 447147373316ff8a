"""What a head says about rows, in the table's own terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Loss", "Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One target's predictions for the rows of a batch.

    Attributes:
        values: int64 [batch] class ids (classification), bool [batch, classes] (multilabel), float32 [batch, outputs]
            in the table's own units (regression), or int64 [batch, length] token ids, padded (generation).
        probabilities: float32 [batch, classes] (classification: rows sum to 1; multilabel: each on its own), None for
            a regression and for a text.
        scores: float32 [batch], the log probability of each row's text (generation).
        likelihood: float32 [batch, 3], of the true text where it was given: the summed log probability of its tokens,
            each after the true ones before it; how many of them were the likeliest there; and their number
            (generation).
        padding_id: What fills the padding of `values` (generation); None where the rows have one shape.
    """

    values: Shaped[Tensor, "batch ..."]
    probabilities: Float[Tensor, "batch classes"] | None = None
    scores: Float[Tensor, " batch"] | None = None
    likelihood: Float[Tensor, "batch 3"] | None = None
    padding_id: int | None = None

    def cpu(self) -> Prediction:
        """A copy in main memory."""
        return self._each(lambda tensor: tensor.cpu())

    def __getitem__(self, rows: Shaped[Tensor, " rows"] | slice) -> Prediction:
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Prediction:
        def changed(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return Prediction(
            change(self.values),
            changed(self.probabilities),
            changed(self.scores),
            changed(self.likelihood),
            self.padding_id,
        )

    @staticmethod
    def concatenate(parts: list[Prediction]) -> Prediction:
        """The rows of several batches, in order; texts are padded to the longest."""
        values, padding_id = [part.values for part in parts], parts[0].padding_id
        if padding_id is not None:
            longest = max(value.shape[1] for value in values)
            values = [F.pad(value, (0, longest - value.shape[1]), value=padding_id) for value in values]

        def joined(tensors: list[Tensor | None]) -> Tensor | None:
            found = [tensor for tensor in tensors if tensor is not None]
            return torch.cat(found) if found else None

        return Prediction(
            torch.cat(values),
            joined([part.probabilities for part in parts]),
            joined([part.scores for part in parts]),
            joined([part.likelihood for part in parts]),
            padding_id,
        )


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss as a sum and what to divide it by.

    Whoever trains divides by counts summed over micro-batches and ranks, so accumulation, unequal lengths and
    several ranks change nothing.

    Attributes:
        total: Scalar, the weighted sum over what was counted.
        count: Scalar, the sum of the weights of what was counted; no gradient.
    """

    total: Float[Tensor, ""]
    count: Float[Tensor, ""]

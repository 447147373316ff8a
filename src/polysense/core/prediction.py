"""What a head says about rows, in the table's own terms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

__all__ = ["Loss", "Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One target's predictions for the rows of a batch.

    Attributes:
        values: int64 [batch] class ids (classification), bool [batch, classes] (multilabel), float32 [batch, outputs]
            in the table's own units (regression).
        probabilities: float32 [batch, classes] (classification: rows sum to 1; multilabel: each on its own), None for
            a regression.
    """

    values: Shaped[Tensor, "batch ..."]
    probabilities: Float[Tensor, "batch classes"] | None = None

    def cpu(self) -> Prediction:
        """A copy in main memory."""
        return Prediction(self.values.cpu(), None if self.probabilities is None else self.probabilities.cpu())

    def __getitem__(self, rows: Shaped[Tensor, " rows"] | slice) -> Prediction:
        return Prediction(self.values[rows], None if self.probabilities is None else self.probabilities[rows])

    @staticmethod
    def concatenate(parts: list[Prediction]) -> Prediction:
        """The rows of several batches, in order."""
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return Prediction(
            torch.cat([part.values for part in parts]),
            torch.cat(probabilities) if probabilities else None,
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

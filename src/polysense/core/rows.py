"""What is known of a batch's rows beside their cells, and what a loss says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.core.pytree import pytree_node, static

__all__ = ["ColumnLosses", "ModelOutput", "RowContext", "RowLoss"]


@pytree_node
@dataclass(frozen=True, eq=False)
class RowLoss:
    """One loss of each row, as a sum and what to divide it by.

    Whoever trains divides by counts summed over micro-batches and ranks, so accumulation, unequal lengths and several
    ranks change nothing.

    Attributes:
        total: Summed over what was counted in the row; 0 where its target is absent.
        count: What was counted, known without a forward; no gradient.
    """

    total: Float[Tensor, " batch"]
    count: Float[Tensor, " batch"]

    def weighted(self, weights: Float[Tensor, " batch"]) -> RowLoss:
        """Each row's total and count times its weight."""
        return RowLoss(self.total * weights, self.count * weights)

    def plus(self, other: RowLoss) -> RowLoss:
        """Each row's totals and counts together."""
        return RowLoss(self.total + other.total, self.count + other.count)


@pytree_node
@dataclass(frozen=True, eq=False)
class RowContext:
    """What a head is told of the rows beside what was fused.

    Attributes:
        rows: Row indices in the table; -1 = filler.
        keys: RNG keys, in training a hash of (seed, epoch, row), at prediction one of the row alone: noise, time steps
            and sampled tokens are a function of them.
        progress: In training the share of the run that is done, in (0, 1]; None elsewhere.
        inputs: By name what prediction is given beside the columns: a prompt, an inpainting mask.
        candidates: What is chosen from, as a head that chooses among candidates has encoded it, on an axis of its own;
            None elsewhere.
        is_drawn: Whether a prediction that is a distribution is drawn from by `keys`, where it would be its mean.
    """

    rows: Int[Tensor, " batch"]
    keys: Int[Tensor, " batch"]
    progress: Float[Tensor, ""] | None = None
    inputs: Mapping[str, ColumnBatch] = field(default_factory=dict)
    candidates: Float[Tensor, "candidates size"] | None = None
    is_drawn: bool = field(default=False, metadata=static())


@pytree_node
@dataclass(frozen=True, eq=False)
class ModelOutput:
    """What a model's forward gives.

    Attributes:
        outputs: Per target what its head read.
        losses: In training each loss by its name in the model's `loss_weights`, the rows' weights in it.
    """

    outputs: Mapping[str, object]
    losses: Mapping[str, RowLoss]


@dataclass(frozen=True)
class ColumnLosses:
    """Which of a model's losses say how a target is predicted from all columns, and from each alone.

    Attributes:
        together: The name of the loss of all columns.
        columns: Per column the name of its own.
    """

    together: str
    columns: Mapping[str, str]

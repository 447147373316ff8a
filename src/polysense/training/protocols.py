"""What the loop asks of a model, of a loader and of the caller's functions.

Protocols rather than base classes: `nn` and `data` lie below this layer and know nothing of it, and a test's two-layer
network is as good a model as ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Batch, TargetBatch
from polysense.core.prediction import Loss
from polysense.data.lengths import TokenCount

__all__ = [
    "Augment",
    "ColumnsModel",
    "CountTokens",
    "Loader",
    "ParameterGroup",
    "TrainableModel",
    "Validate",
    "WholeBatchHead",
    "WholeBatchModel",
]


class ParameterGroup(TypedDict):
    """Parameters that are trained unlike the rest.

    Keys:
        params: The parameters.
        lr_scale: Multiplies the learning rate; 1 if left out. Pretrained parts take 0.1 or so.
        weight_decay: Replaces the optimizer's own; it still spares biases, norms and embeddings.
    """

    params: Sequence[nn.Parameter]
    lr_scale: NotRequired[float]
    weight_decay: NotRequired[float]


@runtime_checkable
class TrainableModel(Protocol):
    """A `torch.nn.Module` with heads.

    Every parameter that takes part in training must be touched by `forward` and `losses` for every batch, also where a
    batch lacks a modality or a target (with a zero gradient): several processes would wait for one another otherwise.
    """

    def __call__(self, batch: Batch) -> Mapping[str, Tensor]:
        """Outputs per target."""
        ...

    def losses(self, outputs: Mapping[str, Any], batch: Batch) -> Mapping[str, Loss]:
        """The loss per target as a sum and a count; a sum over nothing is 0."""
        ...

    def counts(self, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """Per target the count that `losses` would give, without a forward pass."""
        ...

    @property
    def head_weights(self) -> Mapping[str, float]:
        """Per target its weight in the loss, in the targets' order."""
        ...

    def parameter_groups(self) -> Sequence[Mapping[str, Any]]:
        """Parameters trained unlike the rest, each a `ParameterGroup`; those in no group form the default one."""
        ...


@runtime_checkable
class ColumnsModel(TrainableModel, Protocol):
    """A model whose columns can be balanced: each has an encoder, and perhaps heads of its own."""

    @property
    def loss_weights(self) -> Tensor | None:
        """[1 + columns] the weight of the loss of all columns together and of each column's own, for writing as well.

        None where columns have no losses of their own.
        """
        ...

    @property
    def column_encoders(self) -> Mapping[str, nn.Module]:
        """Each column's encoder, in order."""
        ...

    def own_outputs(self, batch: Batch) -> Mapping[str, Tensor]:
        """Outputs with each column's own among them, whatever the mode."""
        ...

    def own_losses(self, outputs: Mapping[str, Any], batch: Batch) -> Mapping[str, Sequence[Loss]]:
        """Per target the loss of all columns together, then each column's own over the rows that have it."""
        ...

    def own_scores(
        self, outputs: Mapping[str, Any], batch: Batch
    ) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
        """Per column how right it is alone, from 0 to 1, summed over rows, and what to divide that by."""
        ...


@runtime_checkable
class WholeBatchHead(Protocol):
    """A head whose loss compares the rows of a batch with one another."""

    def row_losses(self, outputs: Tensor, target: TargetBatch, rows: slice | None = None) -> Float[Tensor, " rows"]:
        """The losses of some rows, compared with all; outputs and target are those of all."""
        ...

    @property
    def loss_parameters(self) -> Sequence[nn.Parameter]:
        """What the loss itself learns, such as a temperature."""
        ...


@runtime_checkable
class WholeBatchModel(TrainableModel, Protocol):
    """A model that may have losses that are no sums over rows."""

    @property
    def whole_batch_heads(self) -> Mapping[str, WholeBatchHead]:
        """The heads whose loss compares rows, by target; mostly none."""
        ...


@runtime_checkable
class Loader(Protocol):
    """Training batches whose order is a pure function of (seed, epoch)."""

    def num_batches(self, epoch: int) -> int:
        """Batches in an epoch; each step takes `accumulate` of them, the last one perhaps fewer."""
        ...

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from the batch `start_step` on."""
        ...


Augment: TypeAlias = Callable[[Batch, int], Batch]
"""(batch on the device, epoch) to the batch that is trained on; a pure function of them."""

CountTokens: TypeAlias = Callable[[Batch], TokenCount]
"""Counts a batch's tokens, in main memory."""

Validate: TypeAlias = Callable[[], Mapping[str, float]]
"""Evaluates the model as it stands; `{"label/accuracy": 0.91, "label/log_loss": 0.3, "loss": 0.3}`."""

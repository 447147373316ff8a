"""What the loop asks of a model, of a loader and of the caller's functions.

Protocols rather than base classes: `nn` and `data` lie below this layer and know nothing of it, and a test's two-layer
network is as good a model as ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.json import JsonValue
from polysense.core.rows import ColumnLosses, ModelOutput, RowLoss
from polysense.data.batches.token_counts import TokenCount

__all__ = [
    "Augment",
    "ColumnsModel",
    "ContrastingHead",
    "ContrastingModel",
    "CountTokens",
    "Loader",
    "ParameterGroup",
    "Resumable",
    "TrainableModel",
    "Validate",
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
    """A `torch.nn.Module` with losses.

    Every parameter that takes part in training must be touched by `forward` for every batch, also where a batch lacks a
    modality or a target (with a zero gradient): several processes would wait for one another otherwise.
    """

    def __call__(
        self, batch: Batch, only: Collection[str] | None = None, deferred: Collection[str] = ()
    ) -> ModelOutput:
        """Outputs per target and, in training, the losses of each row.

        Args:
            batch: With truths.
            only: The targets that are read, without losses; None for all.
            deferred: Targets whose losses the step takes itself.
        """
        ...

    def counts(self, batch: Batch) -> Mapping[str, Float[Tensor, ""]]:
        """What each loss is divided by, without a forward pass."""
        ...

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Each loss's weight in the sum, in the order of the log."""
        ...

    def parameter_groups(self) -> Sequence[Mapping[str, object]]:
        """Parameters trained unlike the rest, each a `ParameterGroup`; those in no group form the default one."""
        ...


@runtime_checkable
class ColumnsModel(TrainableModel, Protocol):
    """A model whose columns can be balanced: each has an encoder, and perhaps losses of its own."""

    loss_weights: dict[str, float]

    @property
    def column_encoders(self) -> Mapping[str, nn.Module]:
        """Each column's encoder, in order."""
        ...

    def unimodal_losses(self) -> Mapping[str, ColumnLosses]:
        """Per target the losses of each column alone; empty without any."""
        ...

    def losses(self, batch: Batch) -> ModelOutput:
        """Outputs and every loss, whatever the mode."""
        ...


@runtime_checkable
class ContrastingHead(Protocol):
    """A head whose loss compares the rows of a batch with one another; it uses no parameters."""

    def truth(self, batch: Batch) -> object:
        """What it learns from."""
        ...

    def loss(self, output: Any, truth: Any, own: slice | None = None) -> Mapping[str, RowLoss]:
        """The losses of some rows, compared with all; output and truth are those of all."""
        ...

    @property
    def loss_names(self) -> Mapping[str, str]:
        """What its losses are called in the model."""
        ...


@runtime_checkable
class ContrastingModel(TrainableModel, Protocol):
    """A model that may have losses that are no sums over rows."""

    def contrasting(self) -> Mapping[str, ContrastingHead]:
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


@runtime_checkable
class Resumable(Protocol):
    """What a checkpoint holds beside the weights: where a log ends, which cells could not be read so far."""

    def state(self) -> JsonValue:
        """What must be remembered at this moment, in JSON's types; None for nothing."""
        ...

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave; called before training resumes."""
        ...


Augment: TypeAlias = Callable[[Batch, int], Batch]
"""(batch on the device, epoch) to the batch that is trained on; a pure function of them."""

CountTokens: TypeAlias = Callable[[Batch], TokenCount]
"""Counts a batch's tokens, in main memory."""

Validate: TypeAlias = Callable[[], Mapping[str, float]]
"""Evaluates the model as it stands; `{"label/accuracy": 0.91, "label/log_loss": 0.3, "loss": 0.3}`."""

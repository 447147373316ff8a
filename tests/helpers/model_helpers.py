"""What tests ask of a model: plain tensors of its outputs, and its losses summed."""

from __future__ import annotations

from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.core.pytree import tensors
from polysense.nn.model import MultimodalModel

__all__ = ["counts", "outputs", "predictions", "total", "totals"]


def outputs(model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
    """Per target the first tensor of its head's output; with an ensemble that of the combination."""
    return {name: tensors(output)[0] for name, output in model(batch).outputs.items()}


def totals(model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
    """Each loss, summed over the rows."""
    return {name: loss.total.sum() for name, loss in model.losses(batch).items()}


def counts(model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
    """What each loss says that it counted."""
    return {name: loss.count.sum() for name, loss in model.losses(batch).items()}


def total(model: MultimodalModel, batch: Batch) -> Tensor:
    """The weighted sum of all losses."""
    each = [model.loss_weights[name] * loss for name, loss in totals(model, batch).items()]
    return sum(each[1:], each[0])


def predictions(model: MultimodalModel, batch: Batch) -> dict[str, Prediction]:
    """From all columns."""
    return model.predict(batch)[0]

"""What tests ask of a model: plain tensors of its outputs, and its losses summed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.prediction import Prediction, as_arrays
from polysense.core.pytree import tensors
from polysense.data.batches.loader import PredictLoader
from polysense.nn.model import MultimodalModel

__all__ = ["counts", "outputs", "predictions", "row_arrays", "total", "totals"]


def outputs(model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
    """Per target the first tensor of its head's output; with an ensemble that of the combination."""
    return {name: tensors(output)[0] for name, output in model(batch).outputs.items()}


def totals(model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
    """Each loss, summed over the rows."""
    return {name: loss.total.sum() for name, loss in model.losses(batch).losses.items()}


def counts(model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
    """What each loss says that it counted."""
    return {name: loss.count.sum() for name, loss in model.losses(batch).losses.items()}


def total(model: MultimodalModel, batch: Batch) -> Tensor:
    """The weighted sum of all losses."""
    each = [model.loss_weights[name] * loss for name, loss in totals(model, batch).items()]
    return sum(each[1:], each[0])


def row_arrays(bundle: Bundle, source: object, target: str, root: Path | None = None) -> dict[str, np.ndarray]:
    """What a target's head predicts of a table's rows, in order."""
    dataset, rows, parts = bundle.dataset(source, root=root), [], list[dict[str, np.ndarray]]()
    bundle.model.eval()
    for batch in PredictLoader(dataset, bundle.schema):
        real = batch.rows >= 0
        rows.append(batch.rows[real].numpy())
        parts.append(as_arrays(bundle.model.predict(batch)[0][target], real))
    order = np.argsort(np.concatenate(rows), kind="stable")
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def predictions(model: MultimodalModel, batch: Batch) -> dict[str, Prediction]:
    """From all columns."""
    return model.predict(batch)[0]

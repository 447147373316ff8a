"""Calibrate a trained model on its validation rows: temperatures of classes, intervals of numbers.

It comes after the fusion weights, since it is about the prediction as it is delivered.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.logs import get_logger
from polysense.core.pytree import concatenate
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.nn.held_out import Outputs
from polysense.nn.model import MultimodalModel

__all__ = ["calibrate", "calibrate_on"]

_log = get_logger("polysense.workflows")


@torch.no_grad()
def calibrate(model: MultimodalModel, dataset: TableDataset, *, prediction: PredictionConfig) -> dict[str, str]:
    """Lets every head that does so fit how sure its predictions say that they are.

    Args:
        model: In evaluation mode, trained.
        dataset: The validation rows, with targets and the feature vectors that the model reads.
        prediction: In which blocks they are computed.

    Returns:
        Per target what was fitted, in words.
    """
    heads = {name: head for name, head in model.by_target().items() if head.calibrates}
    if not heads:
        return {}
    device = next(model.parameters()).device
    parts: dict[str, list[tuple[object, Truth, Tensor]]] = {name: [] for name in heads}
    for batch in PredictLoader(dataset, model.schema, prediction=prediction):
        moved = batch.to(device)
        outputs = model(moved, only=tuple(heads)).outputs
        for name, head in heads.items():
            truth = head.truth(moved)
            assert truth is not None
            parts[name].append((outputs[name], truth, moved.weights * (moved.rows >= 0)))
    return calibrate_on(model, parts)


@torch.no_grad()
def calibrate_on(model: MultimodalModel, rows: Outputs, kind: str = "validation") -> dict[str, str]:
    """The same on outputs that are there already.

    Args:
        model: In evaluation mode, trained.
        rows: What its heads, or those of models of other rows, gave for rows that were not trained on.
        kind: Which rows these are, for the log.
    """
    results = {}
    for name, head in model.by_target().items():
        if not head.calibrates or not rows.get(name):
            continue
        output, truth, weights = concatenate(rows[name])
        said = head.calibrate(output, truth, weights)
        if said is None:
            _log.info("%s: too few %s rows to calibrate", name, kind)
        else:
            results[name] = said
            _log.info("%s: calibrated on %d %s rows: %s", name, int((weights > 0).sum()), kind, said)
    return results

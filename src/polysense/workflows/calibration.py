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
from polysense.nn.model import MultimodalModel

__all__ = ["calibrate"]

_log = get_logger("polysense.workflows")


@torch.no_grad()
def calibrate(model: MultimodalModel, dataset: TableDataset, *, prediction: PredictionConfig) -> dict[str, str]:
    """Lets every head that does so fit how sure its predictions say that they are.

    Args:
        model: In evaluation mode, trained.
        dataset: The validation rows, with targets.
        prediction: In which blocks they are computed.

    Returns:
        Per target what was fitted, in words.
    """
    heads = {name: head for name, head in model.by_target().items() if head.calibrates}
    if not heads:
        return {}
    device = next(model.parameters()).device
    parts: dict[str, list[tuple[object, Truth, Tensor]]] = {name: [] for name in heads}
    # Simple models among the experts read feature vectors, which the epochs did without.
    before = dataset.with_features
    dataset.with_features = before or any(head.reads_features for head in heads.values())
    for batch in PredictLoader(dataset, model.schema, prediction=prediction):
        moved = batch.to(device)
        outputs = model(moved, only=tuple(heads)).outputs
        for name, head in heads.items():
            truth = head.truth(moved)
            assert truth is not None
            parts[name].append((outputs[name], truth, moved.weights * (moved.rows >= 0)))
    dataset.with_features = before
    results = {}
    for name, head in heads.items():
        if not parts[name]:
            continue
        output, truth, weights = concatenate(parts[name])
        said = head.calibrate(output, truth, weights)
        if said is None:
            _log.info("%s: too few validation rows to calibrate", name)
        else:
            results[name] = said
            _log.info("%s: calibrated on %d validation rows: %s", name, int((weights > 0).sum()), said)
    return results

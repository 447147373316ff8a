"""Targets that are the columns themselves: how an evaluation measures them, and how a training is validated by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from polysense.core.batch import Batch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.random import permutation
from polysense.core.schema import Target
from polysense.data.dataset import TableDataset
from polysense.data.loader import PredictLoader
from polysense.evaluation.metrics.compute import selection_metric
from polysense.nn.model import MultimodalModel
from polysense.tasks.reconstruction.mean import hits
from polysense.tasks.reconstruction.reconstructions import Reconstructions, ReconstructionSource

__all__ = ["fit_means", "hidden_together", "preferred_metrics", "reconstruction_sources", "restored_targets"]

_MOST_ROWS = 2_000
"""That means are taken of; the mean of so many is known to 2% of a standard deviation."""

_MOST_GROUPS = 8


def restored_targets(model: MultimodalModel) -> list[Target]:
    """The targets that are columns, restored."""
    return [target for target in model.schema.targets if target.task is Task.RECONSTRUCTION]


def fit_means(model: MultimodalModel, dataset: TableDataset, seed: int) -> None:
    """Fits the mean predictors that restored columns are measured against.

    Args:
        model: Its heads keep them.
        dataset: The training rows.
        seed: Of the sample of them.
    """
    targets = restored_targets(model)
    if not targets:
        return
    chosen = np.sort(permutation(len(dataset), seed, "means")[:_MOST_ROWS])
    batches = [batch.columns for batch in PredictLoader(_part(dataset, chosen), model.schema)]
    for target in targets:
        model.head(target.name).mean.fit(batches)


def _part(dataset: TableDataset, rows: np.ndarray) -> TableDataset:
    if len(rows) == len(dataset):
        return dataset
    return TableDataset(dataset.table.select(rows), dataset.processor, with_targets=False)


def reconstruction_sources(model: MultimodalModel) -> dict[str, ReconstructionSource]:
    """Per target that is columns, how a batch's rows are measured."""
    return {target.name: _source(model, target) for target in restored_targets(model)}


def _source(model: MultimodalModel, target: Target) -> ReconstructionSource:
    head: Any = model.head(target.name)

    def measure(batch: Batch, prediction: Prediction) -> Reconstructions:
        device = next(model.parameters()).device
        moved = batch.to(device)
        columns = {name: moved.columns[name] for name in target.members if name in moved.columns}
        shape = (len(batch), len(target.members))
        assert prediction.errors is not None, f"{target.name}: what is restored has errors"
        found = Reconstructions.of_errors(prediction.errors.float().cpu().numpy())
        if not columns:
            return found
        filled_errors, filled_hits = np.full(shape, np.nan), np.full(shape, np.nan)
        names = frozenset(model.schema.names)
        groups = hidden_together([name for name in target.members if name in columns] if len(names) > 1 else [])
        subsets = [names - set(group) for group in groups]
        for group, one in zip(groups, model.predict_subsets(moved, subsets), strict=True):
            others = [column.present for other, column in moved.columns.items() if other not in group]
            there = torch.stack(others).any(dim=0).cpu().numpy() if others else np.zeros(len(batch), dtype=bool)
            errors = one[target.name].errors
            assert errors is not None
            wrong = _numbers(errors)
            right = _numbers(hits(head.mean.decoders, one[target.name].columns, columns))
            for index in map(target.members.index, group):
                filled_errors[:, index] = np.where(there, wrong[:, index], np.nan)
                filled_hits[:, index] = np.where(there, right[:, index], np.nan)
        return Reconstructions(
            errors=found.errors,
            hits=_numbers(hits(head.mean.decoders, {n: c.to(device) for n, c in prediction.columns.items()}, columns)),
            filled_errors=filled_errors,
            filled_hits=filled_hits,
            mean_errors=_numbers(head.mean.errors(columns)),
            mean_hits=_numbers(head.mean.hits(columns)),
        )

    return measure


def hidden_together(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns in groups that are hidden at a time, to be filled from the others.

    One at a time while there are few. Beyond eight every eighth together, about as many as training hides: else a table
    of thirty columns is read thirty times for each validation, which took longer than its epoch.
    """
    return [tuple(columns[first::_MOST_GROUPS]) for first in range(min(_MOST_GROUPS, len(columns)))]


def _numbers(values: torch.Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().double().cpu().numpy()
    return found


def preferred_metrics(model: MultimodalModel) -> dict[str, str]:
    """Per target what the best checkpoint is selected by, when nobody has said.

    Where cells are hidden in training, to be filled from the others, it is how well that works: restoring a cell from
    itself goes on getting better long after.
    """
    found = {target.name: selection_metric(target).name for target in model.schema.targets}
    for target in restored_targets(model):
        head: Any = model.head(target.name)
        if len(model.schema.columns) > 1 and head.corruption.hide > 0:
            found[target.name] = "filled_skill"
    return found

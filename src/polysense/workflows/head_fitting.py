"""Fit what heads count and do not train: a language model of the training texts, the mean predictor of columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import DecodeError
from polysense.evaluation.target_metrics import selection_metric
from polysense.nn.model import MultimodalModel
from polysense.workflows.evaluating import fitted_processor

__all__ = ["fit_heads", "selection_metrics"]

_MOST_ROWS = 2_000
"""That means are taken of; the mean of so many is known to 2% of a standard deviation."""


def fit_heads(model: MultimodalModel, dataset: TableDataset, seed: int) -> None:
    """Fits the heads that count something of the training rows.

    Args:
        model: Not trained yet.
        dataset: The training rows.
        seed: Of the sample of them.
    """
    heads = {target.name: model.head(target.name) for target in model.schema.targets}
    for name, head in heads.items():
        if head.learns_from_texts:
            head.fit_texts(_token_ids(fitted_processor(dataset).targets[name], dataset.table))
    learners = [head for head in heads.values() if head.learns_from_columns]
    if learners:
        chosen = np.sort(permutation(len(dataset), seed, "means")[:_MOST_ROWS])
        part = dataset
        if len(chosen) < len(dataset):
            part = TableDataset(dataset.table.select(chosen), dataset.processor, with_targets=False)
        batches = [batch.columns for batch in PredictLoader(part, model.schema)]
        for head in learners:
            head.fit_columns(batches)


def _token_ids(processor: TargetProcessor, table: Table) -> Iterator[list[int]]:
    """Every reference of every row; cells that can't be read are listed when the row is."""
    for row in range(len(table)):
        try:
            value = processor.transform(table, row)
        except DecodeError:
            continue
        if value is not None:
            yield from (sequence.tolist() for sequence in processor.sequences(value))


def selection_metrics(model: MultimodalModel) -> dict[str, str]:
    """Per target what the best checkpoint is selected by, when nobody has said: its head's choice, or its task's.

    A task's is its proper score, where it has one.
    """
    return {
        target.name: model.head(target.name).selection_metric or _proper_score(target) or selection_metric(target).name
        for target in model.schema.targets
    }


def _proper_score(target: Target) -> str | None:
    score = task(target.task).proper_score
    return None if isinstance(score, Unsupported) else score

"""Fit what heads count and do not train: a language model of the training texts, means of columns and of features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import DecodeError
from polysense.evaluation.target_metrics import selection_metric
from polysense.nn.candidates import CandidateHead
from polysense.nn.head import BaseHead
from polysense.nn.model import MultimodalModel
from polysense.workflows.evaluating import fitted_processor

__all__ = ["fit_heads", "selection_metrics"]

_MOST_ROWS = 2_000
"""That means are taken of; the mean of so many is known to 2% of a standard deviation."""


def fit_heads(model: MultimodalModel, dataset: TableDataset, seed: int, *, prediction: PredictionConfig) -> None:
    """Fits the heads that count something of the training rows.

    Args:
        model: Not trained yet.
        dataset: The training rows.
        seed: Of the sample of them.
        prediction: In which blocks features are computed.
    """
    heads = {target.name: model.head(target.name) for target in model.schema.targets}
    for name, head in heads.items():
        if head.learns_from_texts:
            head.fit_texts(_token_ids(fitted_processor(dataset).targets[name], dataset.table))
        if isinstance(head, CandidateHead):
            head.fit_counts(fitted_processor(dataset).targets[name].counted())
    of_columns = [head for head in heads.values() if head.learns_from_columns]
    of_features = {name: head for name, head in heads.items() if head.learns_from_features}
    if of_columns or of_features:
        part = _sample(dataset, seed)
        loader = PredictLoader(part, model.schema, prediction=prediction)
        batches = [batch.columns for batch in loader] if of_columns else []
        for head in of_columns:
            head.fit_columns(batches)
        if of_features:
            _fit_features(model, of_features, loader)


def _sample(dataset: TableDataset, seed: int) -> TableDataset:
    chosen = np.sort(permutation(len(dataset), seed, "means")[:_MOST_ROWS])
    if len(chosen) == len(dataset):
        return dataset
    table = dataset.table.select(chosen)
    return TableDataset(
        table, dataset.processor, with_targets=False, with_features=dataset.with_features, stored=dataset.stored
    )


@torch.no_grad()
def _fit_features(model: MultimodalModel, heads: Mapping[str, BaseHead], loader: PredictLoader) -> None:
    """Gives heads the feature vectors of training rows as prediction has them: in evaluation mode."""
    device = next(model.parameters()).device
    collected: dict[str, dict[str, tuple[list[Tensor], list[Tensor]]]] = {name: {} for name in heads}
    was_training = model.training
    model.eval()
    for batch in loader:
        moved = batch.to(device)
        keep = moved.rows >= 0
        for name, head in heads.items():
            fused = model.fused(moved, name)
            for column in head.reads_features:
                vectors = fused.columns[column].features
                if vectors is not None:
                    values, present = collected[name].setdefault(column, ([], []))
                    values.append(vectors[keep])
                    present.append(fused.columns[column].present[keep])
    model.train(was_training)
    for name, head in heads.items():
        parts = collected[name].items()
        head.fit_features(
            {column: torch.cat(values) for column, (values, _) in parts},
            {column: torch.cat(present) for column, (_, present) in parts},
        )


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

"""Fit a model's estimators on its training rows, once its networks are trained.

Feature vectors are collected as prediction gives them: in evaluation mode, without augmentation. What there is to
choose is chosen by cross-validation on the training rows alone, with groups kept whole where the split keeps them, and
the scores of rows that an estimator was not fitted on stay behind for whoever weighs the experts. Large tables are
sampled, so that the time is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.core.batch import Batch, Truth
from polysense.core.logs import get_logger
from polysense.core.pytree import concatenate
from polysense.core.random import fold, permutation
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.ensemble_weights import fit_ensemble_weights
from polysense.nn.estimators.examples import FitRows, OutOfFold, folds_of
from polysense.nn.held_out import read_held_out
from polysense.nn.model import MultimodalModel
from polysense.recipe import Recipe
from polysense.training.distributed import Distributed
from polysense.workflows.evaluating import fitted_processor

__all__ = ["MOST_ROWS", "NUM_FOLDS", "fit_estimators", "fit_experts"]

MOST_ROWS = 20_000
"""Training rows that estimators are fitted on: beyond, networks learn what simple models can't."""

NUM_FOLDS = 5

_log = get_logger("polysense.workflows")


def fit_experts(
    model: MultimodalModel,
    recipe: Recipe,
    train: TableDataset,
    validation: TableDataset | None,
    distributed: Distributed,
) -> None:
    """Fits the estimators of every ensemble head and then its weights, if a head asks for that.

    Args:
        model: Whose networks are trained.
        recipe: The run's.
        train: The training rows.
        validation: The validation rows, if there are any.
        distributed: This process among its peers.
    """
    heads = [head for head in model.heads if isinstance(head, EnsembleHead) and head.fits_weights]
    if not heads:
        return
    model.eval()
    datasets = [dataset for dataset in (train, validation) if dataset is not None]
    before = [dataset.with_features for dataset in datasets]
    # The epochs are over: now estimators read the rows' feature vectors. Another training may share the data.
    for dataset in datasets:
        dataset.with_features = dataset.with_features or any(head.reads_features for head in heads)
    out_of_fold = fit_estimators(
        model,
        train,
        group=recipe.data.split.grouping,
        seed=recipe.training.seed,
        prediction=recipe.prediction,
        distributed=distributed,
    )
    held_out = None
    if validation is not None:
        batches = PredictLoader(validation, model.schema, prediction=recipe.prediction)
        held_out = read_held_out(model, batches, losses=False)
    elif not out_of_fold:
        _log.warning("there are no validation rows to fit the fusion weights on: they stay as they were")
    for target, weights in fit_ensemble_weights(model, held_out, out_of_fold).items():
        _log.info("%s: %s", target, weights)
    for dataset, with_features in zip(datasets, before, strict=True):
        dataset.with_features = with_features


def fit_estimators(
    model: MultimodalModel,
    dataset: TableDataset,
    *,
    group: str | None,
    seed: int,
    prediction: PredictionConfig,
    distributed: Distributed,
) -> dict[str, OutOfFold]:
    """Fits the estimators of every ensemble head.

    Args:
        model: In evaluation mode.
        dataset: The training rows, with targets.
        group: The table's column whose groups stay whole in cross-validation; None for none.
        seed: Of the folds, and of what estimators draw.
        prediction: In which blocks features are computed.
        distributed: The main process fits, the others get what it fitted.

    Returns:
        Per target its estimators' scores of training rows that they were not fitted on.
    """
    heads = {
        name: head
        for name, head in model.by_target().items()
        if isinstance(head, EnsembleHead) and head.fits_weights and head.named_estimators()
    }
    if not heads:
        return {}
    result: dict[str, OutOfFold] = {}
    if distributed.is_main:
        if len(dataset) > MOST_ROWS:
            chosen = np.sort(permutation(len(dataset), seed, "estimators")[:MOST_ROWS])
            _log.info("estimators are fitted on %d of %d training rows", MOST_ROWS, len(dataset))
            dataset = TableDataset(dataset.table.select(chosen), fitted_processor(dataset))
        groups = None if group is None or not dataset.table.has(group) else dataset.table.cells(group)
        collected = _collected(model, dataset, heads, prediction)
        for name, head in heads.items():
            result[name] = _fitted(head, collected[name], groups, seed)
    for name, head in heads.items():
        state = {key: value.cpu() for key, value in head.estimators.state_dict().items()}
        received = distributed.from_main((state, result.get(name)))
        if not distributed.is_main:
            head.estimators.load_state_dict(received[0])
            assert received[1] is not None
            result[name] = received[1]
    return result


@dataclass(frozen=True, eq=False)
class _Collected:
    features: Mapping[str, Float[np.ndarray, "rows _"]]
    present: Mapping[str, Bool[np.ndarray, " rows"]]
    targets: Float[np.ndarray, "rows _"]
    weights: Float[np.ndarray, " rows"]
    truth: Truth
    row_weights: Float[Tensor, " rows"]


@torch.no_grad()
def _collected(
    model: MultimodalModel,
    dataset: TableDataset,
    heads: Mapping[str, EnsembleHead],
    prediction: PredictionConfig,
) -> dict[str, _Collected]:
    """Per head the feature vectors of every row, and what it learns from."""
    device = next(model.parameters()).device
    parts: dict[str, list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor, Truth, Tensor]]] = {
        name: [] for name in heads
    }
    rows: list[Int[Tensor, " rows"]] = []
    for batch in PredictLoader(dataset, model.schema, prediction=prediction):
        moved = batch.to(device)
        keep = moved.rows >= 0
        rows.append(moved.rows[keep].cpu())
        vectors: dict[tuple[str, ...], tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
        for name, head in heads.items():
            if head.excludes not in vectors:
                vectors[head.excludes] = _vectors(model, moved, name)
            features, present = vectors[head.excludes]
            inner, truth = head.inner, head.truth(moved)
            if truth is None:
                continue
            weights = moved.weights * (inner.count(truth)["loss"] if inner.score_kind == "choice" else truth.present)
            parts[name].append((
                {column: value[keep].cpu() for column, value in features.items()},
                {column: value[keep].cpu() for column, value in present.items()},
                inner.learned_values(truth)[keep].cpu(),
                weights[keep].cpu(),
                truth.rows(keep).to("cpu"),
                moved.weights[keep].cpu(),
            ))  # fmt: skip
    order = torch.cat(rows).argsort()
    result = {}
    for name, head in heads.items():
        own = parts[name]
        result[name] = _Collected(
            features={c: torch.cat([part[0][c] for part in own])[order].numpy() for c in head.reads_features},
            present={c: torch.cat([part[1][c] for part in own])[order].numpy() for c in head.reads_features},
            targets=torch.cat([part[2] for part in own])[order].numpy(),
            weights=torch.cat([part[3] for part in own])[order].double().numpy(),
            truth=concatenate([part[4] for part in own]).rows(order),
            row_weights=torch.cat([part[5] for part in own])[order],
        )
    return result


def _vectors(model: MultimodalModel, batch: Batch, target: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Per column the feature vectors, and which rows have it; of columns that have any."""
    fused = model.fused(batch, target).columns
    known = {name: column.features for name, column in fused.items()}
    return (
        {name: features for name, features in known.items() if features is not None},
        {name: column.present for name, column in fused.items()},
    )


def _fitted(head: EnsembleHead, collected: _Collected, groups: list[object] | None, seed: int) -> OutOfFold:
    """Fits a head's estimators; gives their out-of-fold scores."""
    inner = head.inner
    assert inner.score_kind is not None
    folds = folds_of(collected.targets, inner.score_kind, groups, NUM_FOLDS, int(fold(seed, "folds")) % 2**32)
    if len(np.unique(folds)) < 2:  # one group: better folds of rows than none
        folds = folds_of(collected.targets, inner.score_kind, None, NUM_FOLDS, int(fold(seed, "folds")) % 2**32)
    scores = {}
    for name, estimator in head.named_estimators().items():
        start = time.perf_counter()
        scores[name] = estimator.fit(
            FitRows(
                features={column: collected.features[column] for column in estimator.columns},
                present=np.stack([collected.present[column] for column in estimator.columns], axis=1),
                targets=collected.targets,
                weights=collected.weights,
                folds=folds,
                seed=int(fold(seed, "estimator", name)) % 2**31,
            )
        )
        _log.info(
            "%s: fitted %s on %d rows of %d features in %.1f s",
            head.target.name, name, len(folds), estimator.num_inputs, time.perf_counter() - start,
        )  # fmt: skip
    return OutOfFold(scores=scores, truth=collected.truth, weights=collected.row_weights)

"""Score a run's simple models on the rows that its model is evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from polysense.bundle import Bundle
from polysense.config.codec import from_dict
from polysense.core.batch import Truth
from polysense.core.json import read_json
from polysense.core.metric import Statistics
from polysense.core.pytree import concatenate
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.simple_baselines import AVERAGE, SimpleModel, TargetBaselines, compare_with_simple
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.estimators.base import Estimator, EstimatorConfig
from polysense.nn.head import Head
from polysense.recipe import Recipe
from polysense.workflows.feature_rows import FeatureReader, FeatureSource
from polysense.workflows.score_statistics import plain_head, score_statistics
from polysense.workflows.simple_baselines import ESTIMATORS, FILE, FOLDER, FORMAT, PROCESSOR
from polysense.workflows.stored_features import store_for_bundle

__all__ = ["score_simple_baselines"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Fitted:
    """A target's simple models as they were saved."""

    head: Head[object]
    reader: FeatureReader
    models: tuple[SimpleModel, ...]
    estimators: Mapping[str, Estimator]
    averaged: tuple[str, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    own_features: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class _Scores:
    """What they say of the rows of a table, in their order."""

    rows: np.ndarray
    truth: Truth
    scores: Mapping[str, np.ndarray]


def score_simple_baselines(
    bundle: Bundle,
    recipe: Recipe,
    folder: Path,
    table: Table,
    evaluation: Evaluation,
    *,
    bootstrap: int,
    seed: int,
    chose: bool = False,
) -> dict[str, TargetBaselines]:
    """Per target that has simple models these beside the trained one.

    Args:
        bundle: The trained model.
        recipe: The run's.
        folder: The run's, which `fit_simple_baselines` wrote into.
        table: The evaluated rows.
        evaluation: Of the trained model on them.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
        chose: Whether these rows also chose something of the trained model.
    """
    if not (folder / FOLDER / FILE).is_file() or not len(table):
        return {}
    fitted = _load(bundle, recipe, folder / FOLDER)
    results = {}
    for own in (False, True):
        part = {name: each for name, each in fitted.items() if each.own_features is own and each.estimators}
        if not part:
            continue
        processor = Processor.load(folder / FOLDER / PROCESSOR, bundle.processor.imputer) if own else bundle.processor
        source = FeatureSource(
            schema=processor.schema, prediction=bundle.prediction, model=None if own else bundle.model
        )
        dataset = TableDataset(table, processor)
        if not own:
            store_for_bundle(bundle, [dataset])
        for name, scores in _scored(source, dataset, part).items():
            each, target = part[name], _target(evaluation, name)
            assert np.array_equal(scores.rows, evaluation.rows), "the simple models read other rows than the model"
            statistics: dict[str, Statistics] = {
                label: score_statistics(each.head, own_scores, scores.truth, scores.rows)
                for label, own_scores in scores.scores.items()
            }
            models = list(each.models)
            notes = list(each.notes)
            if len(each.averaged) > 1 and not isinstance(average := task(target.task).average, Unsupported):
                there = np.stack([np.isfinite(scores.scores[label]).all(axis=1) for label in each.averaged], axis=1)
                # A row that none of them reads anything of is predicted the same by all.
                there |= ~there.any(axis=1, keepdims=True)
                weights = there / there.sum(axis=1, keepdims=True)
                statistics[AVERAGE] = average(target, [statistics[label] for label in each.averaged], weights)
                read = dict.fromkeys(c for m in each.models if m.name in each.averaged for c in m.columns)
                models.append(SimpleModel(name=AVERAGE, columns=tuple(read)))
                notes.append(f"{AVERAGE}: the mean of the predictions of {', '.join(each.averaged)}.")
            results[name] = compare_with_simple(
                evaluation,
                target,
                models,
                statistics,
                bootstrap=bootstrap,
                seed=seed,
                notes=notes,
                left_out=each.left_out,
                chose=chose,
            )
    return {target.name: results[target.name] for target in evaluation.targets if target.name in results}


def _target(evaluation: Evaluation, name: str) -> Target:
    """The target of that name."""
    return next(target for target in evaluation.targets if target.name == name)


def _load(bundle: Bundle, recipe: Recipe, folder: Path) -> dict[str, _Fitted]:
    saved = read_json(folder / FILE, dict)
    if saved.get("version") != FORMAT:
        return {}
    tensors = load_file(folder / ESTIMATORS)
    results = {}
    for position, (name, plain) in enumerate(saved["targets"].items()):
        target, whole = bundle.schema.target(name), bundle.model.head(name)
        head = plain_head(recipe.model.heads[name], target)
        assert head is not None, f"{name}: its head takes no scores, and simple models were fitted for it"
        experts = whole.named_estimators() if isinstance(whole, EnsembleHead) else {}
        weights = _weights(whole)
        estimators, models, columns = dict[str, Estimator](), list[SimpleModel](), dict[str, None]()
        for entry in plain["models"]:
            label, sizes = entry["name"], entry["sizes"]
            columns |= dict.fromkeys(sizes)
            if entry["is_expert"]:
                estimators[label] = experts[label]
            else:
                estimators[label] = _built(entry, head, tensors, f"{position}/{entry['index']}/")
            value = entry["out_of_fold"]
            models.append(
                SimpleModel(
                    name=label,
                    columns=tuple(sizes),
                    out_of_fold=float("nan") if value is None else value,
                    num_training=entry["num_training"],
                    weight=weights.get(label) if entry["is_expert"] else None,
                )
            )
        results[name] = _Fitted(
            head=head,
            reader=FeatureReader(head=head, columns=tuple(columns), excludes=whole.excludes),
            models=tuple(models),
            estimators=estimators,
            averaged=tuple(entry["name"] for entry in plain["models"] if entry["is_averaged"]),
            notes=tuple(plain["notes"]),
            left_out=tuple(plain["left_out"]),
            own_features=plain["own_features"],
        )
    return results


def _weights(head: Head[object]) -> dict[str, float]:
    """What each expert of an ensemble counts, where that was fitted."""
    if not isinstance(head, EnsembleHead) or not head.estimator_names:
        return {}
    return dict(zip(head.weight_names, head.fitted.tolist(), strict=True))


def _built(entry: Mapping[str, Any], head: Head[object], tensors: Mapping[str, Tensor], prefix: str) -> Estimator:
    assert head.score_kind is not None
    config = from_dict(EstimatorConfig, entry["config"], where="the saved simple models")
    estimator = config.build(entry["sizes"], head.score_kind, head.num_scores)
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    estimator.load_state_dict(own)
    return estimator.eval()


@torch.no_grad()
def _scored(source: FeatureSource, dataset: TableDataset, fitted: Mapping[str, _Fitted]) -> dict[str, _Scores]:
    """Batch by batch, so that no table's feature vectors are held at once."""
    rows: list[Tensor] = []
    truths: dict[str, list[Truth]] = {name: [] for name in fitted}
    parts: dict[str, dict[str, list[Tensor]]] = {
        name: {n: [] for n in each.estimators} for name, each in fitted.items()
    }
    for batch in source.batches(dataset):
        keep = batch.rows >= 0
        rows.append(batch.rows[keep].cpu())
        for name, each in fitted.items():
            if (truth := each.head.truth(batch)) is None:
                continue
            truths[name].append(truth.rows(keep).to("cpu"))
            features, present = source.vectors(batch, each.reader)
            for label, estimator in each.estimators.items():
                there = torch.stack([present[column] for column in estimator.columns], dim=1)
                scores = estimator({column: features[column] for column in estimator.columns}, there).double()
                parts[name][label].append(scores.masked_fill(~there.any(dim=1)[:, None], torch.nan)[keep].cpu())
    order = torch.cat(rows).argsort()
    return {
        name: _Scores(
            rows=torch.cat(rows)[order].numpy(),
            truth=concatenate(truths[name]).rows(order),
            scores={label: torch.cat(values)[order].numpy() for label, values in parts[name].items()},
        )
        for name in fitted
        if _counts(truths[name])
    }


def _counts(truths: Sequence[Truth]) -> bool:
    return any(bool(truth.present.any()) for truth in truths)

"""Score a run's simple models: on the rows that its model is evaluated on, in the run or on any other table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from polysense.bundle import Bundle
from polysense.config.codec import from_dict
from polysense.core.batch import Truth
from polysense.core.error_text import first_line
from polysense.core.files import shown_path
from polysense.core.json import read_json
from polysense.core.logs import get_logger
from polysense.core.metric import Statistics
from polysense.core.pytree import concatenate
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.errors import BundleError, PolysenseError
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.simple_baselines import AVERAGE, SimpleModel, TargetBaselines, compare_with_simple
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.estimators.base import Estimator, EstimatorConfig
from polysense.nn.head import Head
from polysense.workflows.evaluating import within
from polysense.workflows.feature_rows import FeatureReader, FeatureSource
from polysense.workflows.score_statistics import plain_head, score_statistics, takes_scores
from polysense.workflows.simple_baselines import ESTIMATORS, FILE, FOLDER, FORMAT, PROCESSOR, preprocessing_mark
from polysense.workflows.stored_features import store_for_bundle

__all__ = ["SimpleStatistics", "kept_simple_baselines", "no_simple_baselines", "simple_statistics"]

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class SimpleStatistics:
    """What a target's simple models say of a table's rows.

    Attributes:
        rows: int64, of the table, ascending.
        models: Which there are.
        statistics: By their names, in the order of the rows.
        notes: How they were fitted, in sentences.
        left_out: What there is none of, and why.
    """

    rows: np.ndarray
    models: tuple[SimpleModel, ...]
    statistics: Mapping[str, Statistics]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


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


def no_simple_baselines(bundle: Bundle) -> str:
    """Why no simple models are kept beside a bundle, in words; "" where there are some."""
    if not any(takes_scores(head) for head in bundle.model_config.heads.values()):
        return "simple models can't predict such a target"
    if bundle.folder is None:
        return "they are kept in the run's folder, and this model has none"
    folder = bundle.folder.resolve().parent
    if (folder / FOLDER / FILE).is_file():
        return ""
    if not bundle.recipe.get("evaluation", {}).get("simple_baselines", True):
        return "the run fitted none: evaluation.simple_baselines is false, or its rows were judged out of fold"
    return f"the run's folder, beside the bundle, keeps none ({shown_path(folder / FOLDER)} is not there)"


def kept_simple_baselines(
    bundle: Bundle,
    table: Table,
    evaluation: Evaluation,
    *,
    bootstrap: int,
    seed: int,
    chose: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, TargetBaselines], str]:
    """The simple models that a run's folder keeps beside its bundle, on any table; or why there are none, in words.

    Args:
        bundle: As it was loaded from its folder.
        table: The evaluated rows.
        evaluation: Of the bundle's model on them.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
        chose: Whether these rows also chose something of the trained model.
        progress: Called with the rows that are done and the rows there are.
    """
    if reason := no_simple_baselines(bundle):
        return {}, reason
    assert bundle.folder is not None
    try:
        results = _scored_beside(
            bundle,
            bundle.folder.resolve().parent,
            table,
            evaluation,
            bootstrap=bootstrap,
            seed=seed,
            chose=chose,
            progress=progress,
        )
    except BundleError as error:
        _log.warning("no simple baselines: %s", error)
        return {}, str(error)
    return results, "" if results else "none could be fitted on the training rows, or no row here has the target"


def _scored_beside(
    bundle: Bundle,
    folder: Path,
    table: Table,
    evaluation: Evaluation,
    *,
    bootstrap: int,
    seed: int,
    chose: bool,
    progress: Callable[[int, int], None] | None,
) -> dict[str, TargetBaselines]:
    results = {}
    for name, each in simple_statistics(bundle, folder, table, progress=progress).items():
        assert np.array_equal(each.rows, evaluation.rows), "the simple models read other rows than the model"
        results[name] = compare_with_simple(
            evaluation,
            _target(evaluation, name),
            each.models,
            each.statistics,
            bootstrap=bootstrap,
            seed=seed,
            notes=each.notes,
            left_out=each.left_out,
            chose=chose,
        )
    return {target.name: results[target.name] for target in evaluation.targets if target.name in results}


def simple_statistics(
    bundle: Bundle, folder: Path, table: Table, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, SimpleStatistics]:
    """Per target that has simple models what these say of a table's rows.

    Args:
        bundle: The trained model.
        folder: The run's, which `fit_simple_baselines` wrote into.
        table: The rows.
        progress: Called with the rows that are done and the rows there are.

    Raises:
        BundleError: What the folder holds is broken, or of another model.
    """
    if not (folder / FOLDER / FILE).is_file() or not len(table):
        return {}
    fitted = _load(bundle, folder)
    parts = [{n: f for n, f in fitted.items() if f.own_features is own and f.estimators} for own in (False, True)]
    results, done, total = {}, 0, len(table) * sum(map(bool, parts))
    for part, own in zip(parts, (False, True), strict=True):
        if not part:
            continue
        processor = _own_processor(bundle, folder / FOLDER) if own else bundle.processor
        source = FeatureSource(
            schema=processor.schema, prediction=bundle.prediction, model=None if own else bundle.model
        )
        dataset = TableDataset(table, processor)
        if not own:
            store_for_bundle(bundle, [dataset])
        for name, scores in _scored(source, dataset, part, within(progress, done, total)).items():
            results[name] = _statistics(part[name], bundle.schema.target(name), scores)
        done += len(table)
    return results


def _statistics(fitted: _Fitted, target: Target, scores: _Scores) -> SimpleStatistics:
    """Of each, and of their average."""
    statistics: dict[str, Statistics] = {
        label: score_statistics(fitted.head, own_scores, scores.truth, scores.rows)
        for label, own_scores in scores.scores.items()
    }
    models, notes = list(fitted.models), list(fitted.notes)
    if len(fitted.averaged) > 1 and not isinstance(average := task(target.task).average, Unsupported):
        there = np.stack([np.isfinite(scores.scores[label]).all(axis=1) for label in fitted.averaged], axis=1)
        # A row that none of them reads anything of is predicted the same by all.
        there |= ~there.any(axis=1, keepdims=True)
        weights = there / there.sum(axis=1, keepdims=True)
        statistics[AVERAGE] = average(target, [statistics[label] for label in fitted.averaged], weights)
        read = dict.fromkeys(c for m in fitted.models if m.name in fitted.averaged for c in m.columns)
        models.append(SimpleModel(name=AVERAGE, columns=tuple(read)))
        notes.append(f"{AVERAGE}: the mean of the predictions of {', '.join(fitted.averaged)}.")
    return SimpleStatistics(
        rows=scores.rows,
        models=tuple(models),
        statistics=statistics,
        notes=tuple(notes),
        left_out=fitted.left_out,
    )


def _target(evaluation: Evaluation, name: str) -> Target:
    """The target of that name."""
    return next(target for target in evaluation.targets if target.name == name)


def _own_processor(bundle: Bundle, folder: Path) -> Processor:
    """The preprocessing that was fitted for the simple models alone."""
    try:
        return Processor.load(folder / PROCESSOR, bundle.processor.imputer)
    except (PolysenseError, OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{shown_path(folder / PROCESSOR)}: can't be read: {error}") from error


def _load(bundle: Bundle, run: Path) -> dict[str, _Fitted]:
    folder = run / FOLDER
    try:
        saved = read_json(folder / FILE, dict)
        if saved.get("version") != FORMAT:
            raise BundleError(f"{shown_path(folder)}: simple models of another version of polysense")
        if bundle.folder is not None and saved["preprocessing"] != preprocessing_mark(bundle.folder):
            raise BundleError(f"{shown_path(folder)}: simple models that were fitted beside another model")
        return _built_all(bundle, saved, load_file(folder / ESTIMATORS))
    except BundleError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{shown_path(folder)}: the simple models can't be read: {first_line(error)}") from error


def _built_all(bundle: Bundle, saved: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, _Fitted]:
    results = {}
    known = bundle.model.by_target()
    for position, (name, plain) in enumerate(saved["targets"].items()):
        if name not in known:
            raise KeyError(f"{name!r} is no target of the model")
        target, whole = bundle.schema.target(name), bundle.model.head(name)
        head = plain_head(bundle.model_config.heads[name], target)
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
def _scored(
    source: FeatureSource,
    dataset: TableDataset,
    fitted: Mapping[str, _Fitted],
    progress: Callable[[int, int], None] | None,
) -> dict[str, _Scores]:
    """Batch by batch, so that no table's feature vectors are held at once."""
    rows: list[Tensor] = []
    truths: dict[str, list[Truth]] = {name: [] for name in fitted}
    parts: dict[str, dict[str, list[Tensor]]] = {
        name: {n: [] for n in each.estimators} for name, each in fitted.items()
    }
    for batch in source.batches(dataset, progress):
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

"""Simple models that a report compares a trained model with, fitted on its training rows and kept in the run's folder.

Those that are experts of the model's own ensemble are there already; the others are fitted here, on the same feature
vectors. A model that reads no feature vectors gets some made for this purpose alone, without trained weights. What they
are chosen by is cross-validation within the training rows, so the evaluated rows decide nothing.

RUN/baselines/simple/
  simple.json             which models there are, and how good they are out of fold
  estimators.safetensors  those that the model's bundle has not
  processor/              preprocessing with feature vectors, where the model's own makes none
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from polysense.config.codec import to_dict
from polysense.core.checksum import folder_checksums
from polysense.core.duration import spell_duration
from polysense.core.files import replacing_folder
from polysense.core.json import json_text, write_json
from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.schema import Column
from polysense.core.tensor_file import save_tensors
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.errors import PolysenseError
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.estimators.base import Estimator, EstimatorConfig
from polysense.nn.head import Head
from polysense.nn.model import MultimodalModel
from polysense.presets.estimators import SimpleModels, default_baselines
from polysense.presets.features import features_of
from polysense.recipe import Recipe
from polysense.training.time_plan import Deadline
from polysense.workflows.estimator_fitting import FittedExperts, affordable_rows
from polysense.workflows.evaluating import fitted_processor
from polysense.workflows.feature_rows import FeatureReader, FeatureRows, FeatureSource, collect_features
from polysense.workflows.score_statistics import OutOfFoldScore, out_of_fold_score, plain_head

__all__ = [
    "ESTIMATORS", "FILE", "FOLDER", "FORMAT", "PROCESSOR", "expected_seconds", "fit_simple_baselines",
    "preprocessing_mark",
]  # fmt: skip

FOLDER = Path("baselines") / "simple"
FILE, ESTIMATORS, PROCESSOR = "simple.json", "estimators.safetensors", "processor"
FORMAT = 2

_MOST_SECONDS = 60.0
"""That one of them may take; more rows are sampled. A guess from sizes alone, so that it is the same on any machine."""

_MOST_MEDIA_ROWS = 3_000
"""Training rows whose media are read once more where the model makes no feature vectors."""

_GUESSED = 100  # features of a column that has none yet
_PROBED = 8  # rows that the time of making features is guessed from

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Models:
    """The simple models of a target, before they are fitted: by name, with those that the ensemble has."""

    configs: Mapping[str, EstimatorConfig]
    experts: Mapping[str, Estimator]
    averaged: tuple[str, ...]
    left_out: tuple[str, ...]


def fit_simple_baselines(
    model: MultimodalModel,
    recipe: Recipe,
    train: TableDataset,
    folder: Path,
    fitted: FittedExperts,
    deadline: Deadline | None = None,
) -> None:
    """Fits the simple models of every target that has any, and writes them into the run's folder.

    Args:
        model: Trained, in evaluation mode.
        recipe: The run's.
        train: The training rows, with targets.
        folder: The run's, with its fitted preprocessing.
        fitted: The experts of the model's ensembles.
        deadline: When the run must be over; what does not fit is left out.
    """
    # What follows, the evaluation above all, gets the other half.
    deadline = None if deadline is None else deadline.part(0.5)
    heads = {
        target.name: head
        for target in model.schema.targets
        if (head := plain_head(recipe.model.heads[target.name], target)) is not None
    }
    if not heads:
        return
    with replacing_folder(folder / FOLDER) as part:
        rows, own = dict(fitted.rows), {name for name in heads if not _has_all(model, name, fitted)}
        reasons: dict[str, str] = {}
        schema = model.schema
        if own:
            rows = {name: value for name, value in rows.items() if name not in own}
            try:
                processor = _with_features(train, folder)
                made = _own_rows(processor, model, recipe, train, {name: heads[name] for name in sorted(own)}, deadline)
                if isinstance(made, str):
                    reasons = dict.fromkeys(own, made)
                else:
                    rows |= made
                    schema = processor.schema
                    processor.save(part / PROCESSOR)
            except PolysenseError as error:
                reasons = dict.fromkeys(own, str(error))
        described: dict[str, object] = {}
        tensors: dict[str, Tensor] = {}
        for index, (name, head) in enumerate(heads.items()):
            if name in reasons or name not in rows:
                reason = reasons.get(name, "no training row has the target")
                described[name] = {"models": [], "notes": [], "left_out": [reason], "own_features": name in own}
                _log.info("%s: no simple baselines: %s", name, reason)
                continue
            columns = schema.columns if name in own else model.schema.columns
            described[name] = _fit_target(
                head, model, recipe, columns, rows[name], fitted, name in own, f"{index}/", tensors, deadline,
                len(train),
            )  # fmt: skip
        save_tensors(part / ESTIMATORS, tensors)
        write_json(
            part / FILE,
            {"version": FORMAT, "preprocessing": preprocessing_mark(folder / "bundle"), "targets": described},
        )


def preprocessing_mark(bundle: Path) -> str:
    """A hash of the fitted preprocessing in a bundle's folder, which tells whose simple models they are."""
    checksums = folder_checksums(bundle / "processor")
    return hashlib.sha256(json_text(checksums, sort_keys=True).encode()).hexdigest()


def expected_seconds(model: MultimodalModel, recipe: Recipe, num_rows: int) -> float:
    """About how long one core fits all simple models, those of ensembles among them.

    Args:
        model: Not trained yet.
        recipe: The run's.
        num_rows: Training rows.
    """
    total, kinds = 0.0, recipe.data.modalities
    num_rows = min(num_rows, recipe.evaluation.simple_baseline_rows)
    sizes = {name: encoder.num_features or _GUESSED for name, encoder in model.column_encoders.items()}
    for target in model.schema.targets:
        head, whole = plain_head(recipe.model.heads[target.name], target), model.head(target.name)
        has_estimators = isinstance(whole, EnsembleHead) and bool(whole.estimator_names)
        if head is None or not (recipe.evaluation.simple_baselines or has_estimators):
            continue
        models = default_baselines([(name, kinds[name]) for name in sizes], sizes)
        for config in (*models.joint.values(), *models.single.values()):
            inputs = sum(sizes[name] for name in config.columns or sizes)
            total += min(config.seconds(num_rows, inputs, head.num_scores), _MOST_SECONDS)
    return total


def _has_all(model: MultimodalModel, name: str, fitted: FittedExperts) -> bool:
    """Whether the model's own ensemble reads feature vectors of every column that can have some."""
    head = model.head(name)
    if not isinstance(head, EnsembleHead) or name not in fitted.rows:
        return False
    can = features_of([(c.name, c.modality) for c in model.schema.columns if c.name not in head.excludes], 1)
    return set(can) <= set(fitted.rows[name].features)


def _with_features(train: TableDataset, folder: Path) -> Processor:
    """The run's preprocessing, with feature vectors of every column that can have some."""
    processor = Processor.load(folder / "bundle" / "processor", fitted_processor(train).imputer)
    inputs = [(column.name, column.modality) for column in processor.schema.columns]
    return processor.with_features(features_of(inputs, len(train)), train.table)


def _own_rows(
    processor: Processor,
    model: MultimodalModel,
    recipe: Recipe,
    train: TableDataset,
    heads: Mapping[str, Head[object]],
    deadline: Deadline | None,
) -> dict[str, FeatureRows] | str:
    """What is learned from preprocessing's own feature vectors; or why there is no time for it."""
    limit = min(len(train), recipe.evaluation.simple_baseline_rows)
    if any(column.is_media for column in processor.columns.values()):
        limit = min(limit, _MOST_MEDIA_ROWS)
    chosen = np.sort(permutation(len(train), recipe.training.seed, "simple baselines")[:limit])
    dataset = TableDataset(train.table.select(chosen), processor)
    if deadline is not None:
        start = time.perf_counter()
        probed = min(_PROBED, len(dataset))
        dataset.__getitems__(range(probed))
        seconds = (time.perf_counter() - start) / max(probed, 1) * len(dataset)
        if not deadline.allows(seconds, "simple baselines"):
            return "no time for their features"
    source = FeatureSource(schema=processor.schema, prediction=recipe.prediction)
    readers = {}
    for name, head in heads.items():
        excludes = model.head(name).excludes
        columns = tuple(c.name for c in processor.schema.columns if c.num_features and c.name not in excludes)
        readers[name] = FeatureReader(head=head, columns=columns, excludes=excludes)
    return collect_features(source, dataset, readers, recipe.data.split.grouping)


def _models(columns: tuple[Column, ...], sizes: Mapping[str, int], head: Head[object] | None) -> _Models:
    """The simple models over some columns, with those that an ensemble has fitted already."""
    chosen: SimpleModels = default_baselines([(c.name, c.modality) for c in columns], sizes)
    experts: dict[str, Estimator] = {}
    configs: dict[str, EstimatorConfig] = {}
    if isinstance(head, EnsembleHead):
        experts = {name: each for name, each in head.named_estimators().items() if each.is_fitted}
        configs = {name: replace(head.estimator_configs[name], columns=each.columns) for name, each in experts.items()}
    averaged = list(configs)
    for name, config in {**chosen.joint, **chosen.single}.items():
        config = replace(config, columns=tuple(n for n in config.columns or sizes if sizes.get(n, 0)))
        if config in configs.values():
            continue
        while name in configs:
            name = f"{name} (again)"
        configs[name] = config
        if name in chosen.joint:
            averaged.append(name)
    return _Models(configs=configs, experts=experts, averaged=tuple(averaged), left_out=chosen.left_out)


def _fit_target(
    head: Head[object],
    model: MultimodalModel,
    recipe: Recipe,
    columns: tuple[Column, ...],
    rows: FeatureRows,
    fitted: FittedExperts,
    own: bool,
    prefix: str,
    tensors: dict[str, Tensor],
    deadline: Deadline | None,
    num_training: int,
) -> dict[str, object]:
    """Fits what is missing of a target's models; what simple.json says of it."""
    name, seed = head.target.name, recipe.training.seed
    whole = model.head(name)
    sizes = {column: vectors.shape[1] for column, vectors in rows.features.items() if vectors.shape[1]}
    columns = tuple(column for column in columns if column.name not in whole.excludes)
    models = _models(columns, sizes, None if own else whole)
    assert head.score_kind is not None
    folds = rows.folds(head, seed)
    known = int(((rows.weights > 0) & np.isfinite(rows.targets).any(axis=1)).sum())
    entries: list[dict[str, object]] = []
    left_out, sampled = list(models.left_out), list[str]()
    for index, (label, config) in enumerate(models.configs.items()):
        own_columns = config.columns or tuple(sizes)
        if label in models.experts:
            scores = fitted.out_of_fold[name].scores[label]
            num_rows = int(np.isfinite(scores).all(axis=1).sum())
            if 0 < num_rows < len(rows.usable(own_columns)):
                sampled.append(f"{label} on {num_rows:,}")
        else:
            inputs = sum(sizes[column] for column in own_columns) + len(own_columns)
            most, values = min(known, recipe.evaluation.simple_baseline_rows), rows.num_values(own_columns)
            num_rows = affordable_rows(config, most, inputs, head.num_scores, values, seconds=_MOST_SECONDS)
            seconds = config.seconds(num_rows, inputs, head.num_scores, values)
            if seconds > 2 * _MOST_SECONDS:
                left_out.append(f"{label}: even {num_rows:,} rows of it would take {spell_duration(seconds)}")
                continue
            if deadline is not None and not deadline.allows_work(seconds, f"the simple baseline {label!r} of {name}"):
                left_out.append(f"{label}: no time was left")
                continue
            if num_rows < known:
                sampled.append(f"{label} on {num_rows:,}")
            estimator = config.build({c: sizes[c] for c in own_columns}, head.score_kind, head.num_scores)
            scores = estimator.fit(rows.to_fit(own_columns, folds, num_rows, seed, label))
            if not estimator.is_fitted:
                left_out.append(f"{label}: no training row that has the target has it")
                continue
            tensors |= {f"{prefix}{index}/{key}": value for key, value in estimator.state_dict().items()}
        score = out_of_fold_score(head, scores, rows.truth)
        if label not in models.experts:
            _log.info("%s: %s, for the report: fitted on %d training rows; %s", name, label, score.num_rows, score)
        entries.append(_entry(label, config, own_columns, sizes, score, index, models))
    groups = recipe.data.split.grouping if rows.groups is not None else None
    return {
        "models": entries,
        "notes": _notes(known, num_training, len(np.unique(folds)), groups, sampled, own),
        "left_out": left_out,
        "own_features": own,
    }


def _entry(
    label: str,
    config: EstimatorConfig,
    columns: tuple[str, ...],
    sizes: Mapping[str, int],
    score: OutOfFoldScore,
    index: int,
    models: _Models,
) -> dict[str, object]:
    return {
        "name": label,
        "config": to_dict(config),
        "sizes": {column: sizes[column] for column in columns},
        "index": index,
        "is_expert": label in models.experts,
        "is_averaged": label in models.averaged,
        "out_of_fold": score.value,
        "num_training": score.num_rows,
    }


def _notes(
    known: int, num_training: int, num_folds: int, groups: str | None, sampled: list[str], own: bool
) -> list[str]:
    """How they were fitted, in sentences."""
    of = f" of {num_training:,}" if known < num_training else ""
    kept = f", with groups of {groups!r} kept whole" if groups is not None else ""
    chosen = (
        f"what there is to choose (penalty, number of trees, size of leaves) was chosen by {num_folds}-fold "
        f"cross-validation within these rows{kept}"
        if num_folds > 1
        else "nothing could be chosen by cross-validation"
    )
    notes = [f"Fitted on {known:,}{of} training {'row' if known == 1 else 'rows'} that have the target; {chosen}."]
    if sampled:
        notes.append(f"Fitted on a sample of the rows, since all would take too long: {', '.join(sampled)}.")
    if own:
        notes.append(
            "The model reads no feature vectors of all its columns, so these were made for this comparison alone, "
            "without trained weights."
        )
    return notes

"""Scores a model on batches: metrics with intervals, predictions in the table's order, and what could not be read.

It takes a callable and batches, so it knows neither models nor tables, and the same function scores a trained model, a
baseline or an ensemble. With `bootstrap=0` it gives values only, which is what validation after each epoch needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from polysense.core.batch import Batch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.sample import Unreadable
from polysense.core.schema import Target
from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.evaluation.metrics.base import MAX_RANKED, MetricInfo
from polysense.evaluation.metrics.compute import confusion_matrix, metrics_of, scorer
from polysense.tasks.generation.texts import Texts, TextSource
from polysense.tasks.reconstruction.reconstructions import Reconstructions, ReconstructionSource

__all__ = ["Evaluation", "Truth", "evaluate", "score"]


@dataclass(frozen=True, eq=False)
class Truth:
    """One target's true values for the evaluated rows.

    Attributes:
        values: int64 [rows] (classification), float32 [rows, outputs], or float32 [rows, 1 + segments, 3] (tagging, see
            TargetBatch); anything where absent. int64 [rows, keys], what a row holds, 0 where that is missing
            (contrastive). Zeros [rows] where the target is a text: its references are in `Evaluation.texts`.
        present: bool [rows].
    """

    values: np.ndarray
    present: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What was measured.

    Attributes:
        targets: What was predicted.
        metrics: {target: {metric: value with its interval}}, in the order in which they are reported.
        undefined: {target: {metric: reason}} for metrics that have no value.
        rows: int64 [rows], the evaluated rows of the table, ascending.
        predictions: Per target, in the order of `rows`, in main memory.
        truths: Per target, in the order of `rows`.
        confusion: Per classification int64 [classes, classes], by true and predicted class.
        texts: Per text target what was written and the references, in the order of `rows`.
        restored: Per target that is columns, each row's errors, in the order of `rows`.
        unreadable: Cells that became missing.
        confidence: Of the intervals.
        num_resamples: Of the bootstrap; 0 = values only.
    """

    targets: tuple[Target, ...]
    metrics: Mapping[str, Mapping[str, Interval]]
    undefined: Mapping[str, Mapping[str, str]]
    rows: np.ndarray
    predictions: Mapping[str, Prediction]
    truths: Mapping[str, Truth]
    confusion: Mapping[str, np.ndarray] = field(default_factory=dict)
    texts: Mapping[str, Texts] = field(default_factory=dict)
    restored: Mapping[str, Reconstructions] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    confidence: float = 0.95
    num_resamples: int = 0

    @property
    def num_rows(self) -> int:
        """Rows evaluated, with or without a target."""
        return len(self.rows)

    def num_counted(self, target: str) -> int:
        """Rows that have the target; the metrics are over these."""
        return int(np.count_nonzero(self.truths[target].present))

    def value(self, target: str, metric: str) -> float:
        """One metric's value; NaN where it is undefined."""
        return self.metrics[target][metric].value

    def as_flat(self) -> dict[str, float]:
        """{"target/metric": value}, as a training log writes it."""
        return {
            f"{target}/{name}": one.value for target, metrics in self.metrics.items() for name, one in metrics.items()
        }

    def as_metrics_json(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """{target: {metric: {"value", "low", "high"}}}, None for what is undefined."""
        return {
            target: {metric: found.as_json() for metric, found in metrics.items()}
            for target, metrics in self.metrics.items()
        }

    def as_summary_json(self) -> dict[str, Any]:
        """What stands beside the metrics: how many rows, why a metric is undefined, the confusion matrices."""
        return {
            "num_rows": self.num_rows,
            "num_unreadable_cells": len(self.unreadable),
            "confidence": self.confidence,
            "num_resamples": self.num_resamples,
            "targets": {
                target.name: {
                    "num_counted": self.num_counted(target.name),
                    "num_without_target": self.num_rows - self.num_counted(target.name),
                    "undefined": dict(self.undefined[target.name]),
                    "classes": list(target.classes),
                    "confusion": self.confusion[target.name].tolist() if target.name in self.confusion else None,
                }
                for target in self.targets
            },
        }


def evaluate(
    predict: Callable[[Batch], Mapping[str, Prediction]],
    batches: Iterable[Batch],
    targets: Sequence[Target],
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Mapping[int, object] | None = None,
    texts: Mapping[str, TextSource] | None = None,
    restored: Mapping[str, ReconstructionSource] | None = None,
) -> Evaluation:
    """Predicts every batch and scores the whole.

    Args:
        predict: Predicts one batch, as it comes from `batches`; it sees to the device and to gradients being off.
        batches: Rows that only fill a batch's shape (row -1) are dropped. A row must not come twice.
        targets: What to score.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        seed: Of the resamples.
        groups: The group (speaker, patient) of each row of the table, to resample whole groups.
        texts: Per text target how its texts are read.
        restored: Per target that is columns, how a batch's rows are measured. The columns themselves are not kept.
    """
    rows: list[np.ndarray] = []
    parts: dict[str, list[Prediction]] = {target.name: [] for target in targets}
    values: dict[str, list[np.ndarray]] = {target.name: [] for target in targets}
    present: dict[str, list[np.ndarray]] = {target.name: [] for target in targets}
    errors: dict[str, list[Reconstructions]] = {name: [] for name in restored or {}}
    unreadable: list[Unreadable] = []
    for batch in batches:
        predictions = predict(batch)
        own = batch.rows.cpu()
        kept = torch.nonzero(own >= 0).flatten()
        rows.append(own[kept].numpy())
        unreadable += batch.unreadable
        for target in targets:
            prediction = predictions[target.name]
            if restored is not None and target.name in restored:
                errors[target.name].append(restored[target.name](batch, prediction)[kept.numpy()])
            parts[target.name].append(replace(prediction, columns={}).cpu()[kept])
            truth = batch.targets.get(target.name)
            if truth is None:
                values[target.name].append(_no_values(target, len(kept)))
                present[target.name].append(np.zeros(len(kept), dtype=bool))
            else:
                known = _no_values(target, len(kept)) if target.task is Task.GENERATION else truth.values.cpu()[kept]
                values[target.name].append(np.asarray(known))
                present[target.name].append(truth.present.cpu()[kept].numpy())
    table_rows = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    order = np.argsort(table_rows, kind="stable")
    table_rows = table_rows[order]
    repeated = table_rows[1:][table_rows[1:] == table_rows[:-1]]
    assert not len(repeated), f"rows {repeated[:5].tolist()} were evaluated twice; they would count twice"
    take = torch.from_numpy(order)
    found = {
        target.name: Prediction.concatenate(parts[target.name] or [_no_prediction(target)])[take] for target in targets
    }
    return score(
        targets,
        table_rows,
        found,
        {
            target.name: Truth(
                _stacked([_no_values(target, 0), *values[target.name]])[order],
                np.concatenate([np.zeros(0, dtype=bool), *present[target.name]])[order],
            )
            for target in targets
        },
        unreadable=tuple(unreadable),
        bootstrap=bootstrap,
        confidence=confidence,
        seed=seed,
        groups=groups,
        texts={name: source.of(table_rows, found[name].values) for name, source in (texts or {}).items()},
        restored={name: Reconstructions.concatenate(own)[order] for name, own in errors.items() if own},
    )


def score(
    targets: Sequence[Target],
    rows: np.ndarray,
    predictions: Mapping[str, Prediction],
    truths: Mapping[str, Truth],
    *,
    unreadable: tuple[Unreadable, ...] = (),
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Mapping[int, object] | None = None,
    texts: Mapping[str, Texts] | None = None,
    restored: Mapping[str, Reconstructions] | None = None,
) -> Evaluation:
    """Scores predictions that are there already.

    Args:
        targets: What to score.
        rows: int64 [rows], the table's rows, ascending.
        predictions: Per target, in the order of `rows`, in main memory.
        truths: Likewise.
        unreadable: Cells that became missing.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        seed: Of the resamples.
        groups: The group of each row of the table, to resample whole groups.
        texts: Per text target what was written and the references, in the order of `rows`.
        restored: Per target that is columns, each row's errors, in the order of `rows`.
    """
    texts, restored = texts or {}, restored or {}
    metrics: dict[str, dict[str, Interval]] = {}
    undefined: dict[str, dict[str, str]] = {}
    for target in targets:
        truth, prediction = truths[target.name], predictions[target.name]
        counted = np.flatnonzero(truth.present)
        more = (texts.get(target.name), restored.get(target.name))
        score_rows = scorer(target, prediction, truth.values, truth.present, *more)
        values = score_rows(np.ones((1, len(counted))))
        resampled: dict[str, list[np.ndarray]] = {}
        if bootstrap and len(counted):
            own = None if groups is None else _group_ids([groups[int(row)] for row in rows[counted]])
            rankings = score_rows.num_scores <= MAX_RANKED
            for weights in multiplicities(len(counted), bootstrap, seed, groups=own):
                for name, found in score_rows(weights, rankings=rankings).items():
                    resampled.setdefault(name, []).append(found)
        metrics[target.name] = {
            info.name: interval(
                float(values[info.name][0]), np.concatenate([np.zeros(0), *resampled.get(info.name, ())]), confidence
            )
            for info in metrics_of(target)
        }
        undefined[target.name] = {
            info.name: _reason(info, len(counted))
            for info in metrics_of(target)
            if not np.isfinite(metrics[target.name][info.name].value)
        }
    return Evaluation(
        targets=tuple(targets),
        metrics=metrics,
        undefined=undefined,
        rows=rows,
        predictions=predictions,
        truths=truths,
        confusion={
            target.name: confusion_matrix(
                target, predictions[target.name], truths[target.name].values, truths[target.name].present
            )
            for target in targets
            if target.task is Task.CLASSIFICATION
        },
        texts=texts,
        restored=restored,
        unreadable=unreadable,
        confidence=confidence,
        num_resamples=bootstrap,
    )


def _reason(info: MetricInfo, num_counted: int) -> str:
    """Why a metric has no value."""
    if not num_counted:
        return "no row has this target"
    return info.undefined_when or "a prediction is not a finite number"


def _group_ids(groups: Sequence[object]) -> np.ndarray:
    """Numbers groups in the order in which they first come; int64 [rows]."""
    ids: dict[object, int] = {}
    return np.array([ids.setdefault(group, len(ids)) for group in groups], dtype=np.int64)


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Truths of several batches; segments are padded to the most of any row."""
    if parts[0].ndim == 3:
        most = max(part.shape[1] for part in parts)
        parts = [np.pad(part, ((0, 0), (0, most - part.shape[1]), (0, 0)), constant_values=-1) for part in parts]
    return np.concatenate(parts)


def _no_values(target: Target, num_rows: int) -> np.ndarray:
    """Values of rows that all lack the target."""
    if target.task in (Task.CLASSIFICATION, Task.GENERATION):
        return np.zeros(num_rows, dtype=np.int64)
    if target.task is Task.CONTRASTIVE:
        return np.zeros((num_rows, target.num_outputs), dtype=np.int64)
    if target.task is Task.TAGGING:
        return np.tile(np.array([0.0, 0.0, -1.0], dtype=np.float32), (num_rows, 1, 1))
    return np.full((num_rows, target.num_outputs), np.nan, dtype=np.float32)


def _no_prediction(target: Target) -> Prediction:
    """Predictions for no rows, so that an empty table is scored like any other."""
    if target.task is Task.GENERATION:
        return Prediction(torch.zeros(0, 0, dtype=torch.int64), padding_id=target.padding_id)
    if target.task is Task.TAGGING:
        return Prediction(torch.zeros(0, 1, 4), padding_id=-1)
    if target.task is Task.REGRESSION:
        return Prediction(torch.zeros(0, target.num_outputs))
    if target.task is Task.CONTRASTIVE:
        return Prediction(torch.zeros(0, len(target.members), 1))
    if target.task is Task.RECONSTRUCTION:
        return Prediction(torch.zeros(0, 1), errors=torch.zeros(0, len(target.members)))
    if target.task is Task.MULTILABEL:
        return Prediction(torch.zeros(0, target.num_outputs, dtype=torch.bool), torch.zeros(0, target.num_outputs))
    return Prediction(torch.zeros(0, dtype=torch.int64), torch.zeros(0, target.num_outputs))

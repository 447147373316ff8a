"""Scores a model on batches: metrics with intervals, row statistics in the table's order, and what could not be read.

It takes a callable and batches, so it knows neither models nor tables, and the same function scores a trained model, a
baseline or an ensemble. A batch's predictions leave their task's row statistics behind and are dropped, so that what is
kept does not grow with what is predicted. With `bootstrap=0` it gives values only, which is what validation after each
epoch needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polysense.core.batch import Batch
from polysense.core.metric import Scorer, Statistics
from polysense.core.prediction import Prediction, as_arrays
from polysense.core.random import permutation
from polysense.core.registry import extra_metrics, task
from polysense.core.sample import Unreadable
from polysense.core.schema import Target
from polysense.core.task_spec import BatchRows, TargetReader
from polysense.core.unsupported import Unsupported
from polysense.evaluation.bootstrap import Interval, groups_to_resample, metric_interval, multiplicities
from polysense.evaluation.metrics.base import MAX_RANKED
from polysense.evaluation.target_metrics import headline_metric, metrics_of

__all__ = ["Evaluation", "Predict", "PredictMasked", "TargetScorer", "batch_statistics", "evaluate", "merged", "score"]

Predict = Callable[[Batch], Mapping[str, Prediction]]
"""A batch to its predictions by target; it sees to the device and to gradients being off."""

PredictMasked = Callable[[Batch, Sequence[tuple[str, ...]]], Sequence[Mapping[str, Prediction]]]
"""Likewise, once for each group of input columns, these masked."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What was measured.

    Attributes:
        targets: What was predicted.
        metrics: {target: {metric: value with its interval}}, in the order in which they are reported.
        undefined: {target: {metric: reason}} for metrics that have no value.
        rows: int64 [rows], the evaluated rows of the table, ascending.
        statistics: Per target what its predictions left behind, in the order of `rows`; see its task's spec.
        unreadable: Cells that became missing.
        confidence: Of the intervals.
        num_resamples: Of the bootstrap; 0 = values only.
        clusters: int64 [rows], the group of each row, by which the bootstrap resamples; None: rows are on their own.
        is_one_group: Whether all rows are of one group: then rows are resampled, which says nothing of other groups.
    """

    targets: tuple[Target, ...]
    metrics: Mapping[str, Mapping[str, Interval]]
    undefined: Mapping[str, Mapping[str, str]]
    rows: np.ndarray
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    confidence: float = 0.95
    num_resamples: int = 0
    clusters: np.ndarray | None = None
    is_one_group: bool = False

    @property
    def num_rows(self) -> int:
        """Rows evaluated, with or without a target."""
        return len(self.rows)

    def num_counted(self, target: str) -> int:
        """Rows that have the target; the metrics are over these."""
        return int(np.count_nonzero(self.statistics[target]["present"]))

    def example_rows(self, target: str, most: int) -> np.ndarray:
        """Positions of some rows that have the target, in order; by chance, since a table is often sorted."""
        counted = np.flatnonzero(self.statistics[target]["present"])
        return np.sort(counted[permutation(len(counted), "examples")[:most]])

    def value(self, target: str, metric: str) -> float:
        """One metric's value; NaN where it is undefined."""
        return self.metrics[target][metric].value

    def headline(self) -> str:
        """Each target's first metric with its interval, on one line."""
        parts = []
        for target in self.targets:
            metric = headline_metric(target).name
            one = self.metrics[target.name][metric]
            between = f" ({one.low:.3f} to {one.high:.3f})" if one.has_bounds else ""
            parts.append(f"{target.name} {metric} {one.value:.3f}{between}")
        return ", ".join(parts)

    def as_flat(self) -> dict[str, float]:
        """{"target/metric": value}, as a training log writes it."""
        return {
            f"{target}/{name}": one.value for target, metrics in self.metrics.items() for name, one in metrics.items()
        }

    def as_metrics_json(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """{target: {metric: {"value", "low", "high"}}}, None for what is undefined."""
        return {
            target: {metric: result.as_json() for metric, result in metrics.items()}
            for target, metrics in self.metrics.items()
        }

    def as_summary_json(self) -> dict[str, object]:
        """What stands beside the metrics: how many rows, why a metric is undefined, and what else the task tells."""
        return {
            "num_rows": self.num_rows,
            "num_unreadable_cells": len(self.unreadable),
            "confidence": self.confidence,
            "num_resamples": self.num_resamples,
            "targets": {target.name: self._target_json(target) for target in self.targets},
        }

    def _target_json(self, target: Target) -> dict[str, object]:
        counted, summary = self.num_counted(target.name), task(target.task).summary
        more = {} if isinstance(summary, Unsupported) or not counted else summary(target, self.statistics[target.name])
        return {
            "num_counted": counted,
            "num_without_target": self.num_rows - counted,
            "undefined": dict(self.undefined[target.name]),
            **more,
        }


def evaluate(
    predict: Predict,
    batches: Iterable[Batch],
    targets: Sequence[Target],
    *,
    masked: PredictMasked | None = None,
    readers: Mapping[str, TargetReader] | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    clusters: np.ndarray | None = None,
) -> Evaluation:
    """Predicts every batch and scores the whole.

    Args:
        predict: Predicts one batch, as it comes from `batches`.
        batches: With targets. Rows that only fill a batch's shape (row -1) are dropped. A row must not come twice.
        targets: What to score.
        masked: Predicts a batch with some columns masked, for tasks that ask for it (`TaskSpec.masked_groups`); None:
            their metrics have no value.
        readers: Per target how its values are spelled, where it is a task that compares what is spelled.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        seed: Of the resamples.
        clusters: int64, by a row's number in the batches its group, by which resamples are drawn; None: rows are on
            their own.
    """
    rows: list[np.ndarray] = []
    parts: dict[str, list[Statistics]] = {target.name: [] for target in targets}
    unreadable: list[Unreadable] = []
    requested = {target.name: tuple(task(target.task).masked_groups(target)) for target in targets}
    masks = list(dict.fromkeys(group for groups_ in requested.values() for group in groups_)) if masked else []
    for batch in batches:
        predictions = predict(batch)
        more = masked(batch, masks) if masked is not None and masks else []
        rows.append(batch.rows[batch.rows >= 0].cpu().numpy())
        unreadable += batch.unreadable
        for target in targets:
            others = [one[target.name] for mask, one in zip(masks, more, strict=True) if mask in requested[target.name]]
            reader = (readers or {}).get(target.name)
            parts[target.name].append(batch_statistics(target, batch, [predictions[target.name], *others], reader))
    table_rows = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    order = np.argsort(table_rows, kind="stable")
    table_rows = table_rows[order]
    repeated = table_rows[1:][table_rows[1:] == table_rows[:-1]]
    assert not len(repeated), f"rows {repeated[:5].tolist()} were evaluated twice; they would count twice"
    return score(
        targets,
        table_rows,
        {name: _ordered(own, order) for name, own in parts.items()},
        unreadable=tuple(unreadable),
        bootstrap=bootstrap,
        confidence=confidence,
        seed=seed,
        clusters=None if clusters is None else clusters[table_rows],
    )


def batch_statistics(
    target: Target,
    batch: Batch,
    predictions: Sequence[Prediction],
    reader: TargetReader | None = None,
) -> Statistics:
    """What a batch's rows leave behind of a target; rows that only fill the shape are dropped.

    Args:
        target: What was predicted.
        batch: Where it lacks the truth, no row counts.
        predictions: Of the batch; then those with each of the task's `masked_groups` masked.
        reader: How the target's values are spelled.
    """
    keep = (batch.rows >= 0).cpu()
    if target.name not in batch.truths:
        return {"present": np.zeros(int(keep.sum()), dtype=bool)}
    rows = BatchRows(
        numbers=batch.rows.cpu()[keep].numpy(),
        present={name: column.present.cpu()[keep].numpy() for name, column in batch.columns.items()},
        reader=reader,
        geometry=batch.located(keep),
    )
    outputs = [as_arrays(prediction, keep) for prediction in predictions]
    truth = as_arrays(batch.truths[target.name].tensors(), keep)
    return task(target.task).row_statistics(target, outputs, truth, rows)


def _aligned(parts: Sequence[Statistics]) -> list[Statistics]:
    """The parts with the same arrays each: what one model does not say, such as an interval, is NaN there."""
    floats = {name: values for part in parts for name, values in part.items() if values.dtype.kind == "f"}
    return [
        {
            **{
                name: np.full((len(part["present"]), *like.shape[1:]), np.nan, dtype=like.dtype)
                for name, like in floats.items()
            },
            **part,
        }
        for part in parts
    ]


def _ordered(parts: Sequence[Statistics], order: np.ndarray) -> Statistics:
    """The batches' statistics as one, in the table's order."""
    if not parts:
        return {"present": np.zeros(0, dtype=bool)}
    kinds = {name: values for part in parts for name, values in part.items()}
    # Zeros where a batch has no such truth, since none of its rows counts.
    whole = {
        name: np.concatenate(
            [part.get(name, np.zeros((len(part["present"]), *like.shape[1:]), dtype=like.dtype)) for part in parts]
        )
        for name, like in kinds.items()
    }
    return {name: values[order] for name, values in whole.items()}


def score(
    targets: Sequence[Target],
    rows: np.ndarray,
    statistics: Mapping[str, Statistics],
    *,
    refusals: Mapping[str, str] | None = None,
    unreadable: tuple[Unreadable, ...] = (),
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    clusters: np.ndarray | None = None,
) -> Evaluation:
    """Scores row statistics that are there already.

    Args:
        targets: What to score.
        rows: int64 [rows], the table's rows, ascending.
        statistics: Per target, in the order of `rows`.
        refusals: Per target for which there is no prediction, why; its metrics have no value.
        unreadable: Cells that became missing.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        seed: Of the resamples.
        clusters: int64 [rows], the group of each row, by which resamples are drawn; None: rows are on their own.
    """
    is_one_group = clusters is not None and len(np.unique(clusters)) == 1
    clusters = groups_to_resample(clusters)
    metrics: dict[str, dict[str, Interval]] = {}
    undefined: dict[str, dict[str, str]] = {}
    for target in targets:
        own, refusal = statistics[target.name], (refusals or {}).get(target.name)
        infos = metrics_of(target)
        counted = np.flatnonzero(own["present"])
        if refusal is not None or not len(counted):
            metrics[target.name] = {info.name: Interval(np.nan) for info in infos}
            undefined[target.name] = dict.fromkeys(
                metrics[target.name], refusal if refusal is not None else "no row has this target"
            )
            continue
        score_rows = TargetScorer(target, own)
        values = score_rows(np.ones((1, len(counted))))
        resampled: dict[str, list[np.ndarray]] = {}
        if bootstrap:
            rankings = score_rows.num_scores <= MAX_RANKED
            own_clusters = None if clusters is None else clusters[counted]
            for weights in multiplicities(len(counted), bootstrap, seed, clusters=own_clusters):
                for name, one in score_rows(weights, rankings=rankings).items():
                    resampled.setdefault(name, []).append(one)
        metrics[target.name] = {
            info.name: metric_interval(
                info,
                float(values[info.name][0]),
                np.concatenate([np.zeros(0), *resampled.get(info.name, ())]),
                confidence,
                len(counted),
                None if clusters is None else clusters[counted],
            )
            for info in infos
        }
        undefined[target.name] = {
            info.name: info.undefined_when or "a prediction is not a finite number"
            for info in infos
            if not np.isfinite(metrics[target.name][info.name].value)
        }
    return Evaluation(
        targets=tuple(targets),
        metrics=metrics,
        undefined=undefined,
        rows=rows,
        statistics=statistics,
        unreadable=unreadable,
        confidence=confidence,
        num_resamples=bootstrap,
        clusters=clusters,
        is_one_group=is_one_group,
    )


def merged(
    evaluations: Sequence[Evaluation],
    positions: Sequence[np.ndarray],
    targets: Sequence[Target],
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    clusters: np.ndarray | None = None,
) -> Evaluation:
    """Several models' evaluations of different rows of one table, scored as a whole.

    A metric over all rows is no mean of the parts' metrics: a ranking, an R2 or a bootstrap is of the rows.

    Args:
        evaluations: Of each part; their targets have the same classes.
        positions: Of each part int64 [rows], where its rows are in the whole table; disjoint.
        targets: Of the whole.
        bootstrap: Resamples for the intervals; 0 gives values only.
        confidence: Of the intervals.
        seed: Of the resamples.
        clusters: int64 [rows of the whole table], the group of each row; None: rows are on their own.
    """
    rows = np.concatenate([where[part.rows] for part, where in zip(evaluations, positions, strict=True)])
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    assert (np.diff(rows) > 0).all(), "a row is in several parts; it would count several times"
    for target in targets:
        sizes = {len(part.classes) for each in evaluations for part in each.targets if part.name == target.name}
        assert sizes == {len(target.classes)}, f"{target.name}: the parts have other classes than the whole"
    cells = sorted((cell for part in evaluations for cell in part.unreadable), key=lambda cell: cell.source.row)
    return score(
        targets,
        rows,
        {
            target.name: _ordered(_aligned([part.statistics[target.name] for part in evaluations]), order)
            for target in targets
        },
        unreadable=tuple(cells),
        bootstrap=bootstrap,
        confidence=confidence,
        seed=seed,
        clusters=None if clusters is None else clusters[rows],
    )


class TargetScorer(Scorer):
    """A target's own metrics and the added ones.

    Args:
        target: What was predicted.
        statistics: Of all evaluated rows.
    """

    def __init__(self, target: Target, statistics: Statistics) -> None:
        self._target = target
        self._own = task(target.task).scorer(target, statistics)
        self.num_scores = self._own.num_scores
        self._added = {
            metric.name: extra for extra in extra_metrics(target.task) if (metric := extra.describe(target)) is not None
        }
        counted = np.flatnonzero(statistics["present"])
        self._counted = {name: values[counted] for name, values in statistics.items()} if self._added else {}

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        added = {name: extra.score(self._target, self._counted, weights) for name, extra in self._added.items()}
        return self._own(weights, rankings=rankings) | added

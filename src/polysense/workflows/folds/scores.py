"""Out-of-fold scores: every row's statistics by the model that did not see it, scored as one evaluation of all rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.json import json_object
from polysense.core.prediction import Prediction
from polysense.core.schema import Schema
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.beside import kept_columns
from polysense.data.tables.predictions import Predictions
from polysense.data.tables.sources import Table
from polysense.evaluation.contribution import contribution_rows, contributions
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.evaluator import Evaluation, merged
from polysense.recipe import EvaluationConfig
from polysense.training.time_plan import Deadline
from polysense.workflows.folds.models import FoldModel, FoldModels
from polysense.workflows.scoring import add_unimodal, contributed_targets, evaluate_bundle, simple_baselines
from polysense.workflows.stored_features import store_for_bundle

__all__ = ["OUT_OF_FOLD", "FoldScores", "score_folds"]

OUT_OF_FOLD = "out_of_fold"
"""The name of the rows that the folds judge, beside "validation" and "test"."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldScores:
    """What the folds' models say of the rows that they did not see.

    Attributes:
        evaluation: Of all rows; intervals resample the groups that no fold divides.
        baselines: On the same rows, each fitted without the fold that it is judged on.
        predictions: Of all rows, with the fold whose model judged each.
        folds: Per fold its rows, its best epoch and its own values of the metrics, without intervals.
        contributions: Measures what each column contributes to these predictions.
        seconds_per_row: Of one pass of predicting.
        rows: The rows that were judged, as a table.
        num_delivered: Rows that the delivered model was trained on.
    """

    evaluation: Evaluation
    baselines: Mapping[str, Evaluation]
    predictions: Predictions
    folds: Sequence[Mapping[str, Any]]
    contributions: Callable[[], Contributions]
    seconds_per_row: float
    rows: Table
    num_delivered: int

    @property
    def scored(self) -> str:
        """What the score is of, in words."""
        return (
            f"{len(self.folds)} fold models, each row by the model that did not see it; delivered: the refit on all "
            f"{self.num_delivered:,} rows"
        )

    def as_json(self) -> dict[str, Any]:
        """For folds.json."""
        return {"scored": self.scored, "folds": [json_object(fold) for fold in self.folds]}


def score_folds(
    models: FoldModels,
    schema: Schema,
    config: EvaluationConfig,
    *,
    seed: int,
    progress: bool,
    resume_hint: str,
    deadline: Deadline | None,
) -> FoldScores:
    """Scores every row by the model of its fold.

    Args:
        models: Trained.
        schema: Of the delivered model.
        config: What is measured.
        seed: Of the resamples.
        progress: Whether to show progress of the baselines' trainings.
        resume_hint: What a user must do to resume the run.
        deadline: When the run must be over; baselines that do not fit are left out.
    """
    plan = models.plan
    evaluations: list[Evaluation] = []
    baselines: list[dict[str, Evaluation]] = []
    predictions: list[Predictions] = []
    facts, seconds = models.facts(), 0.0
    for each, fact in zip(models, facts, strict=True):
        table = each.tables["test"]
        started = time.monotonic()
        evaluation = evaluate_bundle(each.bundle, table, bootstrap=0, seed=seed)
        seconds += time.monotonic() - started
        own = simple_baselines(each.bundle, table, evaluation, bootstrap=0, seed=seed)
        if config.baselines:
            share = None if deadline is None else deadline.part(1 / (plan.num_folds - len(evaluations) + 1))
            add_unimodal(
                each.recipe,
                each.bundle.schema,
                each.folder,
                each.tables,
                {"test": own},
                bootstrap=0,
                progress=progress,
                resume_hint=resume_hint,
                deadline=share,
            )
        fact["metrics"] = {
            target: {name: value.value for name, value in metrics.items()}
            for target, metrics in evaluation.metrics.items()
        }
        evaluations.append(evaluation)
        baselines.append(own)
        predictions.append(_predictions(each, table))

    judged = plan.judged_rows

    def whole(parts: Sequence[Evaluation]) -> Evaluation:
        return merged(
            parts,
            [np.searchsorted(judged, plan.judged(fold)) for fold in range(plan.num_folds)],
            schema.targets,
            bootstrap=config.bootstrap,
            seed=seed,
            clusters=None if plan.groups is None else plan.groups[judged],
        )

    # A baseline that there was no time for in one fold has no score of all rows.
    shared = [name for name in baselines[0] if all(name in own for own in baselines)]
    return FoldScores(
        evaluation=whole(evaluations),
        baselines={name: whole([own[name] for own in baselines]) for name in shared},
        predictions=_all_rows(predictions),
        folds=facts,
        contributions=lambda: _contributions(models, schema, config, seed),
        seconds_per_row=seconds / max(len(judged), 1),
        rows=plan.rows if len(judged) == len(plan.rows) else plan.rows.select(judged),
        num_delivered=len(plan.rows),
    )


def _contributions(models: FoldModels, schema: Schema, config: EvaluationConfig, seed: int) -> Contributions:
    """What each column contributes to the folds' predictions of rows that they did not see.

    Args:
        models: Trained.
        schema: Of the delivered model.
        config: What is measured.
        seed: Of the choice of rows, and of the resamples.
    """
    plan, judged = models.plan, models.plan.judged_rows
    chosen = judged[contribution_rows(len(judged), max_rows=config.contribution_rows, seed=seed)]
    current: list[Bundle] = []

    def batches() -> Iterator[Batch]:
        for each in models:
            positions = np.intersect1d(each.positions, chosen)
            if not len(positions):
                continue
            current[:] = [each.bundle]
            each.bundle.model.eval()
            dataset = TableDataset(plan.rows.select(positions), each.bundle.processor)
            store_for_bundle(each.bundle, [dataset])
            for batch in each.bundle.batches(dataset):
                rows = torch.from_numpy(np.searchsorted(judged, positions))[batch.rows.clamp(min=0)]
                yield replace(batch, rows=torch.where(batch.rows >= 0, rows, batch.rows))

    def predict(batch: Batch, subsets: list[frozenset[str]]) -> Sequence[Mapping[str, Prediction]]:
        (bundle,) = current
        return bundle.model.predict(batch.to(bundle.device), subsets, write=False)

    return contributions(
        predict,
        batches(),
        contributed_targets(schema),
        schema.columns,
        bootstrap=config.bootstrap,
        seed=seed,
        num_available=len(judged),
        clusters=None if plan.groups is None else plan.groups[judged],
    )


def _predictions(each: FoldModel, table: Table) -> Predictions:
    """A fold's predictions, the truth and the fold's number beside them."""
    columns = [column for target in each.bundle.schema.targets for column in target.columns]
    kept = kept_columns(table, [column for column in dict.fromkeys(columns) if table.has(column)])
    result = each.bundle.predict_dataset(each.bundle.dataset(table), kept=kept)
    number = polars.Series("fold", np.full(len(result), each.number, dtype=np.int64))
    name = next(name for name in ("fold", "fold_number", "out_of_fold") if name not in result.frame.columns)
    frame = result.frame.insert_column(1, number.alias(name))
    return Predictions(frame, result.unreadable, result.warnings)


def _all_rows(parts: Sequence[Predictions]) -> Predictions:
    """The folds' predictions as one table, in the rows' order."""
    frame = polars.concat([part.frame for part in parts], how="diagonal_relaxed").sort("row", maintain_order=True)
    cells = sorted((cell for part in parts for cell in part.unreadable), key=lambda cell: cell.source.row)
    return Predictions(frame, tuple(cells), tuple(dict.fromkeys(w for part in parts for w in part.warnings)))

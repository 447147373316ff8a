"""Scores of a trained model on held-out rows, and of what it has to beat: constants, shuffled inputs, one column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from polysense.bundle import Bundle
from polysense.core.logs import get_logger
from polysense.core.registry import task
from polysense.core.schema import Schema, Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.baselines import (
    CONSTANT,
    SHUFFLED,
    UNIMODAL_ENSEMBLE,
    constant_baseline,
    ensemble_baseline,
    unimodal_name,
)
from polysense.evaluation.evaluator import Evaluation
from polysense.recipe import Recipe
from polysense.training.state import has_checkpoint
from polysense.training.time_plan import Deadline
from polysense.workflows.blind_control import shuffled_inputs
from polysense.workflows.candidates import bundle_choosing
from polysense.workflows.evaluating import evaluate_model
from polysense.workflows.finetune.transfer import without_parts
from polysense.workflows.stored_features import store_for_bundle
from polysense.workflows.table_split import row_groups
from polysense.workflows.train import train_model

__all__ = ["add_unimodal", "contributed_targets", "evaluate_bundle", "only_column", "simple_baselines"]

_log = get_logger("polysense.workflows")

_LEAST_SECONDS = 5.0  # that a baseline's training is worth being started for


def evaluate_bundle(
    bundle: Bundle,
    table: Table,
    *,
    bootstrap: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    dataset: TableDataset | None = None,
    judged: Table | None = None,
) -> Evaluation:
    """Scores a model on a table that has the targets; `progress` gets the rows that are done and the rows there are.

    Where the model's table was split by groups, the intervals are over groups. A data set of the table keeps what is
    decoded, where it has memory for that. Where the table's inputs were exchanged, `judged` are the rows as they were.
    """
    bundle.model.eval()
    dataset = TableDataset(table, bundle.processor) if dataset is None else dataset
    store_for_bundle(bundle, [dataset])
    batches = bundle.batches(dataset, progress=progress)
    clusters = row_groups(bundle, table)
    with bundle_choosing(bundle, table):
        return evaluate_model(
            bundle.model, dataset, batches=batches, judged=judged, bootstrap=bootstrap, seed=seed, clusters=clusters
        )


def only_column(recipe: Recipe, name: str) -> Recipe:
    """The recipe with one input column, all else equal."""
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(
            recipe.data,
            columns={name: recipe.data.columns[name]},
            transforms={key: value for key, value in recipe.data.transforms.items() if key == name},
            features={key: value for key, value in recipe.data.features.items() if key == name},
            modality_dropout=0.0,
            impute=None,  # it would have nothing to fill the column from
        ),
        model=dataclasses.replace(
            recipe.model,
            encoders={name: recipe.model.encoders[name]},
            heads={target: head.for_column(name) for target, head in recipe.model.heads.items()},
        ),
        init_from=without_parts(recipe, [name]),
        evaluation=dataclasses.replace(
            recipe.evaluation, baselines=False, simple_baselines=False, contribution=False, samples=0
        ),
        audit="off",
    )


def simple_baselines(
    bundle: Bundle,
    table: Table,
    evaluation: Evaluation,
    *,
    bootstrap: int,
    seed: int,
    fits: Callable[[int], bool] = lambda rows: True,
) -> dict[str, Evaluation]:
    """The baselines that nothing is trained for: each task's constant one, and the blind control of generated texts.

    Args:
        bundle: The model.
        table: The rows.
        evaluation: Of the model on them.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.
        fits: Whether there is time to predict so many rows once more.
    """
    results = {CONSTANT: constant_baseline(evaluation, bootstrap=bootstrap, seed=seed)}
    blind = shuffled_inputs(table, bundle.schema, seed)
    if blind is not None and fits(len(blind)):
        results[SHUFFLED] = evaluate_bundle(bundle, blind, bootstrap=bootstrap, seed=seed, judged=table)
    return results


def contributed_targets(schema: Schema) -> list[Target]:
    """The targets whose tasks say what a column contributes to them."""
    return [target for target in schema.targets if not isinstance(task(target.task).contribution, Unsupported)]


def add_unimodal(
    recipe: Recipe,
    schema: Schema,
    folder: Path,
    tables: Mapping[str, Table],
    baselines: Mapping[str, dict[str, Evaluation]],
    *,
    bootstrap: int,
    progress: bool,
    resume_hint: str,
    deadline: Deadline | None,
) -> None:
    """Trains a model of each column alone, and adds its scores and those of the models' ensemble.

    Args:
        recipe: Of the model of all columns.
        schema: Its columns and targets.
        folder: The run's.
        tables: Per split.
        baselines: Of each split that is scored, what the baselines are added to.
        bootstrap: Resamples for the intervals; 0 gives values only.
        progress: Whether to show progress.
        resume_hint: What a user must do to resume the run.
        deadline: When all of it must be over; what does not fit is left out.
    """
    unimodal: dict[str, list[Evaluation]] = {name: [] for name in baselines}
    over = {task(target.task).lies_in(target) for target in schema.targets} - {None}
    for index, column in enumerate(recipe.data.columns):
        if over - {column}:
            _log.info(
                "no baseline of the column %r alone: segments lie in %s", column, ", ".join(sorted(map(str, over)))
            )
            continue
        part = None
        if deadline is not None:
            if not deadline.allows(_LEAST_SECONDS, f"a model of the column {column!r} alone"):
                continue
            part = deadline.part(1 / (len(recipe.data.columns) - index + 1))
        _log.info("baseline: training on the column %r alone", column)
        alone = only_column(recipe, column)
        own = folder / "baselines" / str(index)
        bundle, _, _ = train_model(
            alone,
            tables,
            own,
            resume=has_checkpoint(own),
            progress=progress,
            resume_hint=resume_hint,
            deadline=part,
            name=f"the model of the column {column!r} alone",
        )
        for name in baselines:
            result = evaluate_bundle(bundle, tables[name], bootstrap=bootstrap, seed=recipe.training.seed)
            baselines[name][unimodal_name(column)] = result
            unimodal[name].append(result)
    for name, parts in unimodal.items():
        if len(parts) > 1:
            baselines[name][UNIMODAL_ENSEMBLE] = ensemble_baseline(
                parts, bootstrap=bootstrap, seed=recipe.training.seed
            )

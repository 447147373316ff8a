"""Measure a trained run and write down what was found: metrics, baselines, contributions, the report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.files import write_text
from polysense.core.json import parse_json, write_json, write_json_lines
from polysense.core.logs import get_logger
from polysense.core.prediction import Prediction
from polysense.core.registry import task
from polysense.core.sample import Unreadable
from polysense.core.schema import Schema, Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.escaping import joined
from polysense.evaluation.baselines import (
    CONSTANT,
    UNIMODAL_ENSEMBLE,
    constant_baseline,
    ensemble_baseline,
    unimodal_name,
)
from polysense.evaluation.contribution import contribution_rows, contributions
from polysense.evaluation.evaluator import Evaluation
from polysense.recipe import Recipe
from polysense.reports.report import Report, render_report
from polysense.reports.terminal import report_text
from polysense.training.state import has_checkpoint
from polysense.training.time_plan import Deadline
from polysense.workflows.baseline_scores import score_simple_baselines
from polysense.workflows.blind_control import shuffled_inputs
from polysense.workflows.evaluating import evaluate_model
from polysense.workflows.finetune.transfer import without_parts
from polysense.workflows.reading import kept_reading
from polysense.workflows.representation.neighbors import write_space_pages
from polysense.workflows.representation.reconstructions import RECONSTRUCTIONS, write_reconstructions
from polysense.workflows.run import Run
from polysense.workflows.stored_features import store_for_bundle
from polysense.workflows.train import train_model

__all__ = ["SHUFFLED", "evaluate_bundle", "measure", "only_column"]

SHUFFLED = "shuffled inputs"
"""The blind control: the same model with every row's media taken from another row."""

_log = get_logger("polysense.workflows")

_LEAST_SECONDS = 5.0  # that a baseline's training is worth being started for
_MOST_SUBSETS = 64  # of the columns; see `evaluation.contribution`
_COST_OF_SUBSET = 0.1  # of a row's, which is encoded once

_PAGES = {
    "neighbors.html": "Nearest neighbors of some rows",
    "map.html": "A map of the joint embedding space",
    RECONSTRUCTIONS: "Cells and their reconstructions",
}


def evaluate_bundle(
    bundle: Bundle,
    table: Table,
    *,
    bootstrap: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Scores a model on a table that has the targets; `progress` gets the rows that are done and the rows there are."""
    bundle.model.eval()
    dataset = TableDataset(table, bundle.processor)
    store_for_bundle(bundle, [dataset])
    batches = bundle.batches(dataset, progress=progress)
    return evaluate_model(bundle.model, dataset, batches=batches, bootstrap=bootstrap, seed=seed)


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
    )


def measure(
    run: Run,
    tables: Mapping[str, Table],
    unreadable: Sequence[Unreadable],
    *,
    progress: bool,
    resume_hint: str,
    deadline: Deadline | None = None,
) -> None:
    """Fills in the run's evaluations, baselines and contributions, and writes its files.

    Args:
        run: Trained, not yet measured.
        tables: Per split.
        unreadable: The training rows' unreadable cells.
        progress: Whether to show progress of the baselines' trainings.
        resume_hint: What a user must do to resume the run, for the message after Ctrl-C.
        deadline: When the run must be over; what does not fit is left out. None: everything is measured.
    """
    started = time.monotonic()
    config, seed = run.recipe.evaluation, run.recipe.training.seed
    held_out = [name for name in ("validation", "test") if name in tables]
    evaluations = {
        name: evaluate_bundle(run.bundle, tables[name], bootstrap=config.bootstrap, seed=seed) for name in held_out
    }
    num_rows = sum(len(tables[name]) for name in held_out)
    per_row = (time.monotonic() - started) / max(1, num_rows)

    def fits(seconds: float, what: str) -> bool:
        return deadline is None or deadline.allows(seconds, what)

    baselines: dict[str, dict[str, Evaluation]] = {
        name: {CONSTANT: constant_baseline(result, bootstrap=config.bootstrap, seed=seed)}
        for name, result in evaluations.items()
    }
    for name in evaluations:
        blind = shuffled_inputs(tables[name], run.bundle.schema, seed)
        if blind is not None and fits(per_row * len(blind), f"the {name} rows with {SHUFFLED}"):
            baselines[name][SHUFFLED] = evaluate_bundle(run.bundle, blind, bootstrap=config.bootstrap, seed=seed)
    contributed = _contributed(run.bundle.schema)
    if config.baselines and evaluations and len(contributed) < len(run.bundle.schema.targets):
        _log.warning("no model of each column alone is trained: a target here is the columns themselves")
    elif config.baselines and evaluations:
        _add_unimodal(
            run, tables, evaluations, baselines, progress=progress, resume_hint=resume_hint, deadline=deadline
        )
    run.evaluations, run.baselines = evaluations, baselines
    evaluated_split = held_out[-1] if held_out else None
    several = len(run.bundle.schema.columns) > 1 and bool(contributed)
    rows = 0 if evaluated_split is None else min(len(tables[evaluated_split]), config.contribution_rows)
    subsets = min(2 ** len(run.bundle.schema.columns), _MOST_SUBSETS)
    cost = rows * per_row * (1 + _COST_OF_SUBSET * subsets)
    if config.contribution and evaluated_split is not None and several and fits(cost, "what each column contributes"):
        run.contributions, run.contribution_split = _contributions(run, tables[evaluated_split]), evaluated_split
    if config.report and config.samples and evaluated_split is not None:
        write_reconstructions(
            run.bundle,
            tables[evaluated_split],
            run.folder / RECONSTRUCTIONS,
            title=run.folder.name,
            split=evaluated_split,
            num_rows=config.samples,
            seed=seed,
        )
    for name in evaluations if config.simple_baselines else ():
        if fits(per_row * len(tables[name]), f"simple baselines on the {name} rows"):
            run.simple_baselines[name] = score_simple_baselines(
                run.bundle,
                run.recipe,
                run.folder,
                tables[name],
                evaluations[name],
                bootstrap=config.bootstrap,
                seed=seed,
                chose=name == "validation",
            )
    cells = {name: list(result.unreadable) for name, result in evaluations.items()}
    if config.report and evaluated_split is not None:
        write_space_pages(
            run.bundle, tables[evaluated_split], evaluations[evaluated_split], run.folder, evaluated_split, seed
        )
    run.left_out = [] if deadline is None else list(deadline.left_out)
    for what in run.left_out:
        _log.warning("left out for lack of time: %s", what)
    _write(run, tables, {"train": list(unreadable), **cells}, evaluated_split)


def _add_unimodal(
    run: Run,
    tables: Mapping[str, Table],
    evaluations: Mapping[str, Evaluation],
    baselines: Mapping[str, dict[str, Evaluation]],
    *,
    progress: bool,
    resume_hint: str,
    deadline: Deadline | None,
) -> None:
    unimodal: dict[str, list[Evaluation]] = {name: [] for name in evaluations}
    over = {task(target.task).lies_in(target) for target in run.bundle.schema.targets} - {None}
    for index, column in enumerate(run.recipe.data.columns):
        if over - {column}:
            _log.info(
                "no baseline of the column %r alone: segments lie in %s", column, ", ".join(sorted(map(str, over)))
            )
            continue
        part = None
        if deadline is not None:
            if not deadline.allows(_LEAST_SECONDS, f"a model of the column {column!r} alone"):
                continue
            part = deadline.part(1 / (len(run.recipe.data.columns) - index + 1))
        _log.info("baseline: training on the column %r alone", column)
        recipe = only_column(run.recipe, column)
        folder = run.folder / "baselines" / str(index)
        bundle, _, _ = train_model(
            recipe,
            tables,
            folder,
            resume=has_checkpoint(folder),
            progress=progress,
            resume_hint=resume_hint,
            deadline=part,
            name=f"the model of the column {column!r} alone",
        )
        for name in evaluations:
            result = evaluate_bundle(
                bundle, tables[name], bootstrap=recipe.evaluation.bootstrap, seed=recipe.training.seed
            )
            baselines[name][unimodal_name(column)] = result
            unimodal[name].append(result)
    for name, parts in unimodal.items():
        if len(parts) > 1:
            baselines[name][UNIMODAL_ENSEMBLE] = ensemble_baseline(
                parts, bootstrap=run.recipe.evaluation.bootstrap, seed=run.recipe.training.seed
            )


def _contributed(schema: Schema) -> list[Target]:
    """The targets whose tasks say what a column contributes to them."""
    return [target for target in schema.targets if not isinstance(task(target.task).contribution, Unsupported)]


def _contributions(run: Run, table: Table) -> Any:
    config, seed = run.recipe.evaluation, run.recipe.training.seed
    bundle = run.bundle
    device = bundle.device
    chosen = table.select(contribution_rows(len(table), max_rows=config.contribution_rows, seed=seed))
    dataset = TableDataset(chosen, bundle.processor)
    store_for_bundle(bundle, [dataset])

    def predict(batch: Batch, subsets: list[frozenset[str]]) -> list[dict[str, Prediction]]:
        return bundle.model.predict(batch.to(device), subsets, write=False)

    return contributions(
        predict,
        bundle.batches(dataset),
        _contributed(bundle.schema),
        bundle.schema.columns,
        bootstrap=config.bootstrap,
        seed=seed,
        num_available=len(table),
    )


def _missing(run: Run, tables: Mapping[str, Table]) -> dict[str, dict[str, float]]:
    return {
        column.name: {
            name: float(np.mean([cell is None for cell in table.cells(column.table_column)]))
            if table.has(column.table_column)
            else 1.0
            for name, table in tables.items()
        }
        for column in run.bundle.schema
    }


def _write(
    run: Run, tables: Mapping[str, Table], unreadable: Mapping[str, Sequence[Unreadable]], evaluated_split: str | None
) -> None:
    folder = run.folder
    simple = run.simple_baselines_json
    write_json(folder / "metrics.json", {**run.metrics, **({"simple_baselines": simple} if simple else {})})
    if run.baselines:
        write_json(folder / "baselines.json", run.as_json()["baselines"])
    if run.contributions is not None:
        write_json(folder / "contribution.json", {"split": run.contribution_split, **run.contributions.as_json()})
    lines = [{"split": name, **cell.as_dict()} for name, cells in unreadable.items() for cell in cells]
    write_json_lines(folder / "unreadable.jsonl", lines)
    run.text = _text(run, tables, evaluated_split, unreadable)
    if run.recipe.evaluation.report and evaluated_split is not None:
        write_text(folder / "report.html", render_report(_report(run, tables, evaluated_split, unreadable)))


def _report(
    run: Run, tables: Mapping[str, Table], split: str, unreadable: Mapping[str, Sequence[Unreadable]]
) -> Report:
    rows = {f"{name} rows": f"{len(table):,}" for name, table in tables.items()}
    log = run.folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return Report(
        title=run.folder.name,
        evaluation=run.evaluations[split],
        num_columns=len(run.bundle.schema.columns),
        split=split,
        comparisons=run.baselines[split],
        simple_baselines=run.simple_baselines.get(split, {}),
        fusion_weights=run.bundle.info.get("fusion_weights", {}),
        contributions=run.contributions if split == run.contribution_split else None,
        history=[parse_json(line, dict) for line in lines],
        missing=_missing(run, tables),
        facts={
            **rows,
            "parameters": f"{run.bundle.info['parameters']:,}",
            **_imputed(run.bundle.info.get("impute")),
            **{f"calibration of {name}": said for name, said in run.bundle.info.get("calibration", {}).items()},
            **{f"encoder of {name}": why for name, why in run.bundle.info.get("encoders", {}).items()},
            "training": f"{run.training.seconds:,.0f} s, {run.training.samples_per_second:,.0f} samples/s",
            **({"left out for lack of time": "; ".join(run.left_out)} if run.left_out else {}),
        },
        settings=run.recipe.relative_to(run.folder).to_yaml(comments=False),
        samples="samples.html" if (run.folder / "samples.html").exists() else None,
        pages={file: words for file, words in _PAGES.items() if (run.folder / file).exists()},
        dataset=TableDataset(tables[split], run.bundle.processor, with_targets=True),
        unreadable=unreadable,
        reading=kept_reading(run.folder),
    )


def _imputed(report: Mapping[str, Any] | None) -> dict[str, str]:
    """How many cells an imputer filled."""
    if report is None:
        return {}
    totals = {split: np.sum(list(columns.values()), axis=0) for split, columns in report["cells"].items()}
    listed = ", ".join(f"{done:,} of {missing:,} {split}" for split, (done, missing) in totals.items())
    return {"missing cells imputed": f"{listed}; {'; '.join(report['lines'])}"}


def _text(
    run: Run, tables: Mapping[str, Table], evaluated_split: str | None, unreadable: Mapping[str, Sequence[Unreadable]]
) -> str:
    parts = [report_text(_report(run, tables, split, unreadable)) for split in run.evaluations]
    num_unreadable = sum(map(len, unreadable.values()))
    if evaluated_split is None:
        parts.append("Not evaluated: there are no validation or test rows.")
    if num_unreadable:
        parts.append(
            f"Unreadable cells, which count as missing: {num_unreadable:,}; file and reason of each are in "
            f"{run.folder / 'unreadable.jsonl'}"
        )
    if run.left_out:
        parts.append(f"Left out for lack of time: {'; '.join(run.left_out)}")
    lines = [f"run:      {run.folder}"]
    if run.recipe.evaluation.report and evaluated_split is not None:
        lines.append(f"report:   {run.folder / 'report.html'}")
    shared = all(task(target.task).embeds_columns for target in run.bundle.schema.targets)
    use = "index {} TABLE -o INDEX" if shared else "predict {} TABLE -o predictions.csv"
    lines.append(f"use it:   polysense {use.format(shlex.quote(str(run.folder)))}")
    return joined([line for part in parts for line in (*part.splitlines(), "")] + lines)

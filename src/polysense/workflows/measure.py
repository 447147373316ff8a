"""Measure a trained run and write down what was found: metrics, baselines, contributions, the report."""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from polysense.core.files import shown_path, write_text
from polysense.core.json import parse_json, write_json, write_json_lines
from polysense.core.logs import get_logger
from polysense.core.registry import task
from polysense.core.sample import Unreadable
from polysense.core.spelling import enumerated
from polysense.core.wrapping import wrapped
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.escaping import joined
from polysense.evaluation.baselines import SHUFFLED
from polysense.evaluation.evaluator import Evaluation
from polysense.reports.report import Report, render_markdown, render_report
from polysense.reports.run_list import VERDICT
from polysense.reports.terminal import report_text
from polysense.reports.titles import described
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.audit import AUDIT, KEPT_BYTES, audit_deadline, audit_subject, columns_deadline
from polysense.workflows.audit.columns import measured_contributions
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.baseline_scores import kept_simple_baselines
from polysense.workflows.environment_facts import environment_facts, roots
from polysense.workflows.folds.scores import OUT_OF_FOLD, FoldScores
from polysense.workflows.kept_results import keep_results
from polysense.workflows.reading import kept_reading
from polysense.workflows.representation.neighbors import write_space_pages
from polysense.workflows.representation.reconstructions import RECONSTRUCTIONS, write_reconstructions
from polysense.workflows.run import Run
from polysense.workflows.run_folder import RunFolder
from polysense.workflows.scores_in_time import scored_in_time
from polysense.workflows.scoring import add_unimodal, contributed_targets, simple_baselines
from polysense.workflows.time_owed import SCORES, TEST_FEATURES

__all__ = ["PAGES", "measure", "scored_split", "write_pages", "write_results"]

_log = get_logger("polysense.workflows")

_MOST_LEFT_OUT = 2  # things that are listed once more at the end
_MOST_SUBSETS = 64  # of the columns; see `evaluation.contribution`
_SECONDS_OF_MAP = 5.0  # of an idle core
_COST_OF_SUBSET = 0.1  # of a row's, which is encoded once

PAGES = {
    "neighbors.html": "Nearest neighbors of some rows",
    "map.html": "A map of the joint embedding space",
    RECONSTRUCTIONS: "Cells and their reconstructions",
}
"""Beside the report, of some models: file and what it shows."""


def measure(
    run: Run,
    tables: Mapping[str, Table],
    unreadable: Sequence[Unreadable],
    *,
    progress: bool,
    resume_hint: str,
    deadline: Deadline | None = None,
    folds: FoldScores | None = None,
    fingerprints: object = None,
) -> None:
    """Fills in the run's evaluations, baselines and contributions, and writes its files.

    Args:
        run: Trained, not yet measured.
        tables: Per split.
        unreadable: The training rows' unreadable cells.
        progress: Whether to show progress of the baselines' trainings.
        resume_hint: What a user must do to resume the run, for the message after Ctrl-C.
        deadline: When the run must be over; what does not fit is left out. None: everything is measured.
        folds: What the folds' models say of the training rows.
        fingerprints: Of the run's tables; None: as they were when it began.
    """
    config, seed, schema = run.recipe.evaluation, run.recipe.training.seed, run.bundle.schema
    held_out = [name for name in ("validation", "test") if name in tables]
    of_name: dict[str, Evaluation] = {}
    times = list[float]()
    # Of the rows that are audited afterwards some are kept as they were decoded.
    read = {name: TableDataset(tables[name], run.bundle.processor, cache_bytes=KEPT_BYTES) for name in held_out[-1:]}
    are_all_scored = True
    for name in reversed(held_out):  # the headline's rows first, where there is no time for all
        start = time.monotonic()
        if deadline is not None:
            deadline.owe(TEST_FEATURES, 0.0)
        of_name[name], scored = scored_in_time(
            run.bundle, tables[name], deadline, split=name, bootstrap=config.bootstrap, seed=seed,
            is_headline=name == held_out[-1], dataset=read.get(name),
        )  # fmt: skip
        if len(scored) < len(tables[name]):
            are_all_scored = False
            read.pop(name, None)
        tables = {**tables, name: scored}
        times.append((time.monotonic() - start) / max(1, len(scored)))
    evaluations = {name: of_name[name] for name in held_out}
    if deadline is not None:
        deadline.owe(SCORES, 0.0)
    per_row = min(times, default=0.0)  # once its features are stored
    if folds is not None:
        per_row = max(per_row, folds.seconds_per_row)

    def fits(seconds: float, what: str) -> bool:
        return deadline is None or deadline.allows(seconds, what)

    def has_time(rows: int) -> bool:
        return fits(per_row * rows, f"the held-out rows with {SHUFFLED}")

    baselines = {
        name: simple_baselines(run.bundle, tables[name], result, bootstrap=config.bootstrap, seed=seed, fits=has_time)
        for name, result in evaluations.items()
    }
    contributed = contributed_targets(schema)
    if config.baselines and evaluations and len(contributed) < len(schema.targets):
        _log.warning("no model of each column alone is trained: a target here is the columns themselves")
    elif config.baselines and evaluations and folds is None:
        add_unimodal(
            run.recipe,
            schema,
            run.folder,
            tables,
            baselines,
            bootstrap=config.bootstrap,
            progress=progress,
            resume_hint=resume_hint,
            deadline=deadline,
        )
    if folds is not None:
        evaluations = {OUT_OF_FOLD: folds.evaluation, **evaluations}
        baselines = {OUT_OF_FOLD: dict(folds.baselines), **baselines}
        tables = {**tables, OUT_OF_FOLD: folds.rows}
        run.folds = folds.as_json()
    run.evaluations, run.baselines = evaluations, baselines
    evaluated_split = scored_split(evaluations)
    for name in held_out if config.simple_baselines else ():
        if fits(per_row * len(tables[name]), f"simple baselines on the {name} rows"):
            run.simple_baselines[name], _ = kept_simple_baselines(
                run.bundle, tables[name], evaluations[name], bootstrap=config.bootstrap, seed=seed,
                chose=name == "validation",
            )  # fmt: skip
    is_full, is_audited = run.recipe.audit == "full", run.recipe.audit != "off"
    auditing, trained = time.monotonic(), run.bundle.info.get("wall_seconds", run.training.seconds)
    budget = audit_deadline(trained, is_full=is_full or not is_audited)
    if deadline is not None:
        budget = budget.within(deadline)
    several = len(schema.columns) > 1 and bool(contributed)
    rows = 0 if evaluated_split is None else min(len(tables[evaluated_split]), config.contribution_rows)
    subsets = min(2 ** len(schema.columns), _MOST_SUBSETS)
    cost = rows * per_row * (1 + _COST_OF_SUBSET * subsets)
    if config.contribution and evaluated_split is not None and several and fits(cost, "what each column contributes"):
        run.contributions = (
            folds.contributions()
            if folds is not None and evaluated_split == OUT_OF_FOLD
            else measured_contributions(
                run.bundle,
                tables[evaluated_split],
                max_rows=config.contribution_rows,
                bootstrap=config.bootstrap,
                seed=seed,
                trained_alone=run.simple_baselines.get(evaluated_split),
                deadline=columns_deadline(budget),
                read=read.get(evaluated_split),
            )
        )
        run.contribution_split = evaluated_split
    if is_audited and evaluated_split is not None and fits(per_row * rows, "the audit"):
        subject = AuditSubject(
            bundle=run.bundle,
            table=tables[evaluated_split],
            split=evaluated_split.replace("_", "-"),
            evaluation=evaluations[evaluated_split],
            deadline=budget,
            is_full=is_full,
            contributions=run.contributions,
            simple_baselines=run.simple_baselines.get(evaluated_split, {}),
            calibration=evaluations.get("validation") if evaluated_split == "test" else None,
            training=tables.get("train"),
            is_seen=evaluated_split == OUT_OF_FOLD,
            read=read.get(evaluated_split),
            seed=seed,
            bootstrap=config.bootstrap,
        )
        run.audit = audit_subject(subject, seconds=time.monotonic() - auditing)
    pages = config.report and evaluated_split is not None and evaluated_split != OUT_OF_FOLD
    if pages and evaluated_split is not None:
        mapped = any(task(target.task).embeds_columns for target in schema.targets)
        of_map = _SECONDS_OF_MAP * deadline.slowness if mapped and deadline is not None else 0.0
        pages = fits(per_row * len(tables[evaluated_split]) + of_map, "pages of neighbors and reconstructions")
    if pages and evaluated_split is not None:
        write_pages(run, tables, evaluated_split)
    # What an audit leaves out stands with it.
    run.left_out = [*(deadline.left_out if deadline else ()), *(budget.left_out if run.audit is None else ())]
    for what in run.left_out:
        _log.warning("left out for lack of time: %s", what)
    if folds is None and are_all_scored:  # of a sample or of folds a report is measured again
        if fingerprints is None and (record := RunFolder(run.folder).record()) is not None:
            fingerprints = record.tables
        if fingerprints is not None:
            written = [name for name in PAGES if (run.folder / name).exists()] if pages else None
            keep_results(run, fingerprints, written)
    cells = {name: list(result.unreadable) for name, result in evaluations.items()}
    # Training rows that are judged out of fold are listed once, with the others.
    if folds is None or len(folds.rows) < folds.num_delivered:
        cells = {"train": list(unreadable), **{name: own for name, own in cells.items() if name != OUT_OF_FOLD}}
    write_results(run, tables, cells)
    if folds is not None:
        write_json(run.folder / "folds.json", folds.as_json())
        folds.predictions.write(run.folder / "out_of_fold.csv")


def scored_split(splits: Collection[str]) -> str | None:
    """The split whose scores a report is of, of those that were evaluated; None where there is none."""
    return next((name for name in ("test", "validation", OUT_OF_FOLD) if name in splits), None)


def write_pages(run: Run, tables: Mapping[str, Table], split: str) -> None:
    """Writes the pages beside the report that need the model, where its tasks have any.

    Args:
        run: Evaluated.
        tables: Per split.
        split: The rows that they are of.
    """
    config, seed, table = run.recipe.evaluation, run.recipe.training.seed, tables[split]
    if config.samples:
        write_reconstructions(
            run.bundle,
            table,
            run.folder / RECONSTRUCTIONS,
            title=f"{described(run.bundle.schema, table.name)}: reconstructions",
            split=split,
            num_rows=config.samples,
            seed=seed,
        )
    write_space_pages(run.bundle, table, run.evaluations[split], run.folder, split, seed)


def _missing(run: Run, tables: Mapping[str, Table]) -> dict[str, dict[str, float]]:
    return {
        column.name: {
            name: sum(cell is None for cell in table.cells(column.table_column)) / len(table)
            if table.has(column.table_column)
            else 1.0
            for name, table in tables.items()
        }
        for column in run.bundle.schema
    }


def write_results(run: Run, tables: Mapping[str, Table], unreadable: Mapping[str, Sequence[Unreadable]]) -> None:
    """Writes the files that hold what was measured, the report among them, and the run's text.

    Args:
        run: Measured.
        tables: Per split, that of the rows out of fold among them.
        unreadable: Cells that could not be read, by split.
    """
    folder, evaluated_split = run.folder, scored_split(run.evaluations)
    simple = run.simple_baselines_json
    write_json(folder / "metrics.json", {**run.metrics, **({"simple_baselines": simple} if simple else {})})
    if run.baselines:
        write_json(folder / "baselines.json", run.as_json()["baselines"])
    if run.contributions is not None:
        write_json(folder / "contribution.json", {"split": run.contribution_split, **run.contributions.as_json()})
    if run.audit is not None:
        write_json(folder / AUDIT, run.audit.as_json())
    lines = [{"split": name, **cell.as_dict()} for name, cells in unreadable.items() for cell in cells]
    write_json_lines(folder / "unreadable.jsonl", lines)
    reports = {split: _report(run, tables, split, unreadable) for split in run.evaluations}
    if run.recipe.evaluation.report and evaluated_split is not None:
        write_text(folder / "report.html", render_report(reports[evaluated_split]))
        write_text(folder / "report.md", render_markdown(reports[evaluated_split]))
    run.text = _text(run, reports, evaluated_split, unreadable)
    verdict = [] if evaluated_split is None else [one.as_json() for one in reports[evaluated_split].verdicts]
    # Last: it says that the run is finished. The time is the training's, so that measuring again changes nothing.
    write_json(folder / VERDICT, {"targets": verdict, "seconds": run.training.seconds})


def _report(
    run: Run, tables: Mapping[str, Table], split: str, unreadable: Mapping[str, Sequence[Unreadable]]
) -> Report:
    of_run = {name: table for name, table in tables.items() if name != OUT_OF_FOLD}
    rows = {f"{name} rows": f"{len(table):,}" for name, table in of_run.items()}
    log = run.folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    audit = run.audit if run.audit is not None and split.replace("_", "-") == run.audit.split else None
    return Report(
        title=described(run.bundle.schema, next(iter(of_run.values())).name),
        evaluation=run.evaluations[split],
        num_columns=len(run.bundle.schema.columns),
        split=split.replace("_", "-"),
        scored="" if run.folds is None or split != OUT_OF_FOLD else str(run.folds["scored"]),
        comparisons=run.baselines[split],
        simple_baselines=run.simple_baselines.get(split, {}),
        fusion_weights=run.bundle.info.get("fusion_weights", {}),
        contributions=run.contributions if split == run.contribution_split else None,
        history=[parse_json(line, dict) for line in lines],
        logged=run.bundle.model.logged,
        missing=_missing(run, of_run),
        facts={
            **rows,
            **({} if run.folds is None else {"out-of-fold score": str(run.folds["scored"])}),
            "parameters": f"{run.bundle.info['parameters']:,}",
            **_imputed(run.bundle.info.get("impute")),
            "training": f"{run.training.seconds:,.0f} s, {run.training.samples_per_second:,.0f} samples/s",
            **({"left out for lack of time": "; ".join(run.left_out)} if run.left_out else {}),
        },
        settings=run.recipe.relative_to(run.folder).to_yaml(comments=False),
        samples="samples.html" if (run.folder / "samples.html").exists() else None,
        pages={file: words for file, words in PAGES.items() if (run.folder / file).exists()},
        dataset=TableDataset(tables[split], run.bundle.processor, with_targets=True),
        unreadable=unreadable,
        reading=kept_reading(run.folder),
        chose=_chose(run, split),
        advice=run.training.advice or "",
        seed=run.recipe.training.seed,
        audit=() if audit is None else audit.parts,
        left_out=() if audit is None else audit.left_out,
        environment={**environment_facts(run), **_model_facts(run)},
        roots=roots(run.folder, run.recipe),
    )


def _model_facts(run: Run) -> dict[str, str]:
    """How the model came to what it is, where that was chosen for it."""
    info, encoders = run.bundle.info, run.recipe.model.encoders
    chosen = info.get("encoders", {}).items()
    return {
        **{f"{'encoder' if name in encoders else 'head'} of {name}": why for name, why in chosen},
        **({"best epoch of each expert": _listed_epochs(info["expert_epochs"])} if "expert_epochs" in info else {}),
        **{f"calibration of {name}": said for name, said in info.get("calibration", {}).items()},
    }


def _listed_epochs(epochs: Mapping[str, int]) -> str:
    return ", ".join(f"{column} {epoch}" for column, epoch in epochs.items())


def _chose(run: Run, split: str) -> str:
    """What of the model the rows of a split also chose, in words."""
    if split != "validation":
        return ""  # out of fold, each row was judged by a model that did not see it
    info = run.bundle.info
    chosen = ["the epoch"] if run.training.best_epoch is not None else []
    chosen += ["the fusion weights"] if info.get("fusion_weights") else []
    chosen += ["the calibration"] if info.get("calibration") else []
    return enumerated(chosen)


def _imputed(report: Mapping[str, Any] | None) -> dict[str, str]:
    """How many cells an imputer filled."""
    if report is None:
        return {}
    totals = {split: np.sum(list(columns.values()), axis=0) for split, columns in report["cells"].items()}
    listed = ", ".join(f"{done:,} of {missing:,} {split}" for split, (done, missing) in totals.items())
    return {"missing cells imputed": f"{listed}; {'; '.join(report['lines'])}"}


def _text(
    run: Run,
    reports: Mapping[str, Report],
    evaluated_split: str | None,
    unreadable: Mapping[str, Sequence[Unreadable]],
) -> str:
    parts = [] if evaluated_split is None else [report_text(reports[evaluated_split])]
    parts += [report_text(one, verdict=False) for split, one in reports.items() if split != evaluated_split]
    num_unreadable = sum(map(len, unreadable.values()))
    folder = shown_path(run.folder)
    if evaluated_split is None:
        parts.append("Not evaluated: there are no validation or test rows.")
    if num_unreadable:
        parts.append(
            f"Unreadable cells, which count as missing: {num_unreadable:,}; file and reason of each are in "
            f"{folder / 'unreadable.jsonl'}"
        )
    if run.left_out:
        few, more = run.left_out[:_MOST_LEFT_OUT], len(run.left_out) - _MOST_LEFT_OUT
        rest = f" and {more} more, which the warnings above and the report name" if more > 0 else ""
        parts.append(f"Left out for lack of time: {'; '.join(few)}{rest}")
    if run.folds is not None:
        parts.append(f"out of fold: {run.folds['scored']}; each row's prediction is in {folder / 'out_of_fold.csv'}")
    lines = [f"run:      {folder}"]
    if run.recipe.evaluation.report and evaluated_split is not None:
        lines.append(f"report:   {folder / 'report.html'}")
    if run.audit is not None:
        lines.append(f"audit:    {folder / AUDIT}")
    shared = all(task(target.task).embeds_columns for target in run.bundle.schema.targets)
    use = "index {} TABLE -o INDEX" if shared else "predict {} TABLE -o predictions.csv"
    lines.append(f"use it:   polysense {use.format(shlex.quote(str(folder)))}")
    return joined([line for part in parts for line in (*_fitting(part), "")] + lines)


def _fitting(part: str) -> list[str]:
    """A table's lines as they are, a sentence wrapped."""
    lines = part.splitlines()
    return wrapped(part) if len(lines) == 1 else lines

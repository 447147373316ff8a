"""Audit a trained model: every part, in order, within the time that is given; audit.json beside the run.

A quick audit is part of every training, takes at most a quarter of its time, and says what it left out for that. The
full one takes the time that it needs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polysense.bundle import Bundle, as_bundle
from polysense.core.files import named_path, shown_path
from polysense.core.json import write_json
from polysense.core.logs import get_logger, warn_of_each
from polysense.data.batches.dataset import TableDataset
from polysense.errors import TableError
from polysense.evaluation.audit.result import AuditResult
from polysense.training.time_plan import Deadline, measured_slowness
from polysense.workflows.audit.columns import measured_contributions
from polysense.workflows.audit.page import write_audit_page
from polysense.workflows.audit.parts import MAKERS
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.baseline_scores import kept_simple_baselines
from polysense.workflows.candidates import bundle_choosing
from polysense.workflows.scoring import contributed_targets, evaluate_bundle
from polysense.workflows.table_split import part_of, parts_of

__all__ = ["AUDIT", "KEPT_BYTES", "audit", "audit_deadline", "audit_subject", "columns_deadline"]

AUDIT = "audit.json"
"""The file's name in a run's folder."""

KEPT_BYTES = 2**27
"""Memory for audited rows as they were decoded for the evaluation."""

_SHARE = 0.25  # of the training's seconds
_FEWEST_SECONDS = 3.0  # on an idle core
_LONG = 30.0  # seconds, far above the least
_SHARE_OF_COLUMNS = 0.6  # of an audit's time, for column importance, which the verdict is read from
_SECONDS_ON_REQUEST = 60.0  # at least, where somebody asked for it
_MOST_ROWS = 2000  # that contributions are measured on

_log = get_logger("polysense.workflows")


def audit_deadline(training_seconds: float, *, is_full: bool = False, fewest: float | None = None) -> Deadline:
    """When an audit must be over: after a quarter of what the training took; a full one never.

    Args:
        training_seconds: By the clock, with all that was done to train: features, experts, simple models.
        is_full: Whether it takes the time that it needs.
        fewest: Seconds that it has at least; None: three of an idle core, for a training of seconds says little of how
            fast the machine is afterwards.
    """
    if is_full:
        return Deadline(math.inf)
    seconds = _SHARE * training_seconds
    if fewest is None:
        fewest = _FEWEST_SECONDS * (measured_slowness() if seconds < _LONG else 1.0)
    return Deadline(max(seconds, fewest))


def columns_deadline(budget: Deadline) -> Deadline:
    """When column importance must be over, which an audit begins with; what it leaves out is listed with the rest."""
    return budget if budget.left == math.inf else budget.part(_SHARE_OF_COLUMNS)


def audit_subject(subject: AuditSubject, *, seconds: float = 0.0) -> AuditResult:
    """Measures every part.

    Args:
        subject: What is audited.
        seconds: That were spent on it before.
    """
    started = time.monotonic()
    parts = [part for make in MAKERS for part in make(subject)]
    seconds += time.monotonic() - started
    _log.info("audited in %.1f s", seconds)
    for what in subject.deadline.left_out:
        _log.info("left out of the audit: %s", what)
    order = {target.name: i for i, target in enumerate(subject.evaluation.targets)}
    return AuditResult(
        level="full" if subject.is_full else "quick",
        split=subject.split,
        num_rows=subject.evaluation.num_rows,
        confidence=subject.confidence,
        targets=tuple(order),
        contributions=subject.contributions,
        parts=tuple(sorted(parts, key=lambda part: order[part.target])),
        seconds=seconds,
        left_out=tuple(subject.deadline.left_out),
    )


def audit(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    full: bool = False,
    split: str | None = None,
    by: Sequence[str] = (),
    output: str | Path | None = None,
    root: str | Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> AuditResult:
    """Audits a trained model on a table that has the targets.

    It says what each column is worth, how the score falls while cells are missing, damaged or taken from other rows,
    and how far the predictions may be trusted.

    Args:
        bundle: A bundle, or its folder, or a run's. Beside the models that a run's folder keeps, columns alone are
            judged too.
        source: A table's path, a data frame, a list of dictionaries, ...
        full: Whether to try every corruption at every severity, and more rows and columns, whatever that takes. Else
            the audit is over after a quarter of the training's time or after a minute, whichever is more, and lists
            what it left out.
        split: The part of the table that is audited, as in `evaluate`.
        by: Columns of the table whose values are scored one by one, as in `evaluate`.
        output: A folder for audit.json and audit.html; None writes nothing.
        root: The folder that media paths are relative to; by default the table's own.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of every draw.

    Raises:
        UserError: The bundle or the table can't be read, or no row has a target.
    """
    started = time.monotonic()
    loaded = as_bundle(bundle)
    whole = loaded.processor.require_any(loaded.read(source, root=root, also=by))
    table = part_of(loaded, whole, split)
    for target in loaded.schema.targets:
        for column in target.columns:
            table.require(column, "target column")
    for column in by:
        table.require(column, "column to group by")
    warn_of_each(_log, loaded.processor.unfamiliar(table))
    folder = None if output is None else named_path(output)
    trained = float(loaded.info.get("wall_seconds", 0.0))
    deadline = audit_deadline(trained, is_full=full, fewest=_SECONDS_ON_REQUEST)
    read = TableDataset(table, loaded.processor, cache_bytes=KEPT_BYTES)
    with bundle_choosing(loaded, table):
        evaluation = evaluate_bundle(loaded, table, bootstrap=bootstrap, seed=seed, dataset=read)
        if not any(evaluation.num_counted(target.name) for target in loaded.schema.targets):
            raise TableError(f"{table.name}: no row has a target that can be read, so there is nothing to audit")
        simple, _ = kept_simple_baselines(loaded, table, evaluation, bootstrap=bootstrap, seed=seed)
        known = None
        if contributed_targets(loaded.schema) and len(loaded.schema.columns) > 1:
            known = measured_contributions(
                loaded, table, max_rows=_MOST_ROWS, bootstrap=bootstrap, seed=seed, trained_alone=simple,
                deadline=columns_deadline(deadline), read=read,
            )  # fmt: skip
        apart = parts_of(loaded, whole) if split in ("test", "validation") else {}
        subject = AuditSubject(
            bundle=loaded,
            table=table,
            split=table.name if split in (None, "all") else str(split),
            evaluation=evaluation,
            deadline=deadline,
            is_full=full,
            contributions=known,
            simple_baselines=simple,
            calibration=(
                evaluate_bundle(loaded, apart["validation"], bootstrap=0, seed=seed)
                if split == "test" and "validation" in apart
                else None
            ),
            training=apart.get("train"),
            read=read,
            seed=seed,
            bootstrap=bootstrap,
            by=tuple(by),
        )
        result = audit_subject(subject, seconds=time.monotonic() - started)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / AUDIT, result.as_json())
        page = write_audit_page(folder, subject, result)
        _log.info("wrote %s", shown_path(page))
    return result

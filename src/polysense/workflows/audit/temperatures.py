"""Predict rows with columns masked, to see what the temperatures of their subsets do.

Up to twenty columns, all columns, all but each one and each one alone are tried, of up to six in a full audit every
subset; of more columns the subsets that rows have by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.temperatures import SubsetJudgments, measure_temperatures
from polysense.evaluation.evaluator import batch_statistics
from polysense.workflows.audit.changes import Encoded, masked
from polysense.workflows.audit.row_values import chunks
from polysense.workflows.audit.stacking import predict_variants
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.calibration import MOST_MASKED_COLUMNS, masked_subsets

__all__ = ["temperature_parts"]

_MOST_ROWS, _MOST_ROWS_IN_FULL = 500, 2000
_FEWEST_ROWS = 20
_SHARE = 0.2  # of the time that is left


@dataclass(eq=False)
class _Judged:
    """The judgments of one target and subset, as they come."""

    probabilities: list[np.ndarray] = field(default_factory=list)
    truth: list[np.ndarray] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)


def temperature_parts(subject: AuditSubject) -> list[AuditPart]:
    """One part for each target whose probabilities have a temperature that is not 1."""
    targets = [target for target in subject.evaluation.targets if _has_temperatures(subject, target)]
    if not targets or subject.is_seen:
        return []
    judged: dict[tuple[str, tuple[str, ...]], _Judged] = {}
    numbers: list[np.ndarray] = []
    num_rows = 0
    most = min(len(subject.table), _MOST_ROWS_IN_FULL if subject.is_full else _MOST_ROWS)
    deadline, seconds = subject.deadline.part(_SHARE), 0.0
    for chunk in chunks(subject, most, "temperatures"):
        if deadline.left <= seconds:
            deadline.note("temperatures", f"temperatures by subset on more than {num_rows:,} of {most:,} rows")
            break
        started = time.monotonic()
        for encoded in chunk.encoded(subject):
            rows = chunk.rows(encoded[0])
            real = rows >= 0
            numbers.append(rows[real])
            _judge(subject, targets, encoded, num_rows, judged)
            num_rows += int(real.sum())
        seconds = time.monotonic() - started
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *numbers])
    parts = [_part(subject, target, judged, rows) for target in targets]
    return [part for part in parts if part is not None]


def _has_temperatures(subject: AuditSubject, target: Target) -> bool:
    if isinstance(task(target.task).class_probabilities, Unsupported) or not subject.evaluation.num_counted(
        target.name
    ):
        return False
    return subject.bundle.model.head(target.name).temperature_of(()) is not None


def _judge(
    subject: AuditSubject,
    targets: Sequence[Target],
    encoded: Encoded,
    offset: int,
    judged: dict[tuple[str, tuple[str, ...]], _Judged],
) -> None:
    """Predicts a batch in every subset, and adds the rows that have exactly its columns."""
    names = subject.bundle.schema.names
    is_masked = len(names) <= MOST_MASKED_COLUMNS
    chosen = masked_subsets(names, few=not subject.is_full)
    subsets = [tuple(name for name in names if name in each) for each in chosen]
    none = np.zeros(len(encoded[0]), dtype=bool)
    variants = (masked(encoded, {name: none for name in names if name not in subset}) for subset in subsets)
    for subset, (batch, predictions) in zip(subsets, predict_variants(subject.bundle.model, variants), strict=True):
        present = batch.presence(names).cpu().numpy()[batch.rows.cpu().numpy() >= 0].tolist()
        own = [tuple(name for name, there in zip(names, row, strict=True) if there) for row in present]
        for target in targets:
            if target.name not in batch.truths:
                continue
            answer = task(target.task).class_probabilities
            assert not isinstance(answer, Unsupported)
            each = answer(target, batch_statistics(target, batch, [predictions[target.name]]))
            for columns in {subset} if is_masked else dict.fromkeys(own):
                chosen = np.array([columns == one for one in own], dtype=bool)[each.rows]
                chosen &= np.isfinite(each.probabilities).all(axis=1)
                if columns and chosen.any():
                    known = judged.setdefault((target.name, columns), _Judged())
                    known.probabilities.append(np.asarray(each.probabilities)[chosen])
                    known.truth.append(each.truth[chosen])
                    known.rows.append(each.rows[chosen] + offset)


def _part(
    subject: AuditSubject,
    target: Target,
    judged: Mapping[tuple[str, tuple[str, ...]], _Judged],
    rows: np.ndarray,
) -> AuditPart | None:
    head = subject.bundle.model.head(target.name)
    common = head.temperature_of(())
    assert common is not None
    subsets = []
    for (name, columns), each in judged.items():
        temperature = head.temperature_of([column for column in columns if column not in head.excludes])
        numbers = np.concatenate(each.rows)
        if name == target.name and temperature is not None and len(np.unique(numbers)) >= _FEWEST_ROWS:
            subsets.append(
                SubsetJudgments(
                    columns=columns,
                    temperature=temperature,
                    probabilities=np.concatenate(each.probabilities),
                    truth=np.concatenate(each.truth),
                    rows=numbers,
                )
            )
    if all(each.temperature == 1 for each in subsets):
        return None
    return measure_temperatures(
        target.name,
        subsets,
        split=subject.split,
        num_rows=len(rows),
        columns=subject.bundle.schema.names,
        common=common,
        clusters=subject.clusters(rows),
        bootstrap=subject.bootstrap,
        confidence=subject.confidence,
        seed=subject.seed,
    )

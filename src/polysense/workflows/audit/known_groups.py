"""Look up which persons of an audit's rows are in the training rows too."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.persons import person_columns
from polysense.data.tables.sources import Table
from polysense.evaluation.audit.known_groups import measure_known_groups
from polysense.evaluation.audit.part import AuditPart
from polysense.workflows.audit.subject import AuditSubject

__all__ = ["known_group_parts"]


def known_group_parts(subject: AuditSubject) -> list[AuditPart]:
    """One part for each target whose rows have scores; none where the training rows are not known."""
    training, table, evaluation = subject.training, subject.table, subject.evaluation
    if training is None or subject.is_seen:
        return []
    answers = {column for target in subject.bundle.schema.targets for column in target.columns}
    names = [name for name in person_columns(training, answers) if table.has(name)]
    if not names:
        return []
    columns = {}
    for name in names:
        persons = _persons(table, name)
        trained = frozenset(each for each in _persons(training, name) if each is not None)
        columns[name] = ([persons[int(row)] for row in evaluation.rows], trained)
    targets = [target for target in evaluation.targets if evaluation.num_counted(target.name)]
    parts = [measure_known_groups(subject.input(target), columns) for target in targets]
    return [part for part in parts if part is not None]


def _persons(table: Table, name: str) -> Sequence[str | None]:
    return cleaned(table, name, literal=False).cast(pl.String, strict=False).to_list()

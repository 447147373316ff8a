"""Conflicting labels: rows whose inputs are the same and whose answers are not, so one of them is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding, Severity
from polysense.core.task_spec import Answer
from polysense.core.unsupported import Unsupported
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector, counted, examples
from polysense.evaluation.findings.row_groups import connected, equal_rows, near_rows

__all__ = ["ConflictingLabels"]


class ConflictingLabels(Detector):
    """Equal rows and near copies with different answers."""

    kinds: ClassVar = {"conflicting_labels": "rows with the same inputs and different answers"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        judged = [target for target in checked.targets if target.answer in (Answer.CLASS, Answer.NUMBER)]
        if not judged:
            return
        groups = equal_rows(checked)
        keep = [
            isinstance(column.spec.likeness, Unsupported) or column.spec.likeness.keeps_label
            for column in checked.columns
        ]
        if all(keep):
            groups = [*groups, *connected(near_rows(checked))]
        for target in judged:
            differ = []
            for group in groups:
                keys = target.keys[group]
                if len(set(keys.tolist()) - {-1}) > 1:
                    differ.append(group[keys != -1])
            if not differ:
                continue
            positions = np.unique(np.concatenate(differ))
            rows, table = checked.rows(positions)
            of_class = target.answer is Answer.CLASS
            yield Finding(
                kind="conflicting_labels",
                severity=Severity.WARNING if of_class else Severity.INFO,
                columns=target.columns,
                rows=rows,
                table=table,
                message=f"{target.name}: {counted(len(positions), 'row')} have the inputs of others and another "
                f"{'label' if of_class else 'value'} {examples(checked, differ, '≠')}",
                action="find out which is right, or leave both out"
                if of_class
                else "nothing, if one thing was measured several times; else find out which is right",
            )

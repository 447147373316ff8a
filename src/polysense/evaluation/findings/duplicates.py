"""Duplicates: equal and nearly equal rows within a part of a split, and what a test shares with training.

A copy in the test is a question whose answer was given in training: its score says how well rows are remembered
(Barz and Denzler, "Do We Train on Test Data?", 2020, found 3.3% and 10% in the tests of CIFAR-10 and CIFAR-100). Within
training it only counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from polysense.core.finding import Finding, Severity
from polysense.core.unsupported import Unsupported
from polysense.evaluation.findings.checked import CheckedColumn, CheckedTable
from polysense.evaluation.findings.detector import Detector, counted, examples
from polysense.evaluation.findings.row_groups import connected, equal_rows, groups_of_keys, near_cells, near_rows

__all__ = ["Duplicates", "SharedCells"]

_TRAIN = "train"


class Duplicates(Detector):
    """Rows all of whose inputs are equal, or nearly."""

    kinds: ClassVar = {
        "duplicates": "rows whose inputs are all equal",
        "near_duplicates": "rows whose inputs are all equal or near copies",
        "duplicates_across_splits": "rows of validation or test whose inputs are all those of a training row",
        "near_duplicates_across_splits": "rows of validation or test that are near copies of a training row",
    }

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        equal = equal_rows(checked)
        yield from _findings(checked, equal, (), near="")
        near = near_rows(checked)
        if len(near):
            within = {(int(i), int(j)) for group in equal for i in group for j in group} if len(equal) < 1000 else set()
            pairs = np.array([pair for pair in near.tolist() if tuple(pair) not in within], dtype=np.int64)
            yield from _findings(checked, connected(pairs.reshape(-1, 2)), (), near="near_")


class SharedCells(Detector):
    """Photographs, recordings and the like that several parts of a split hold, whatever else is in their rows."""

    kinds: ClassVar = {
        "shared_cells": "cells of validation or test, such as images, that training rows hold too or a near copy of",
    }

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        whole = {i for group in equal_rows(checked) for i in group.tolist()}
        whole |= {i for pair in near_rows(checked).tolist() for i in pair}
        for column in checked.columns:
            likeness = column.spec.likeness
            if isinstance(likeness, Unsupported) or not likeness.keeps_label:
                continue
            keys = np.where(column.is_distinct, column.keys, -1)
            groups = [*groups_of_keys(keys), *connected(near_cells(column))]
            known = _known(checked, groups)
            if rows := sorted(set(known) - whole):
                yield self._finding(checked, column, np.array(rows, dtype=np.int64), groups)

    def _finding(
        self, checked: CheckedTable, column: CheckedColumn, rows: np.ndarray, groups: Sequence[np.ndarray]
    ) -> Finding:
        numbers, table = checked.rows(rows)
        shown = [group for group in groups if np.isin(group, rows).any() and _spans(checked, group)]
        return Finding(
            kind="shared_cells",
            severity=Severity.WARNING,
            columns=(column.source,),
            rows=numbers,
            table=table,
            message=f"{column.source}: {counted(len(rows), 'cell')} of {_held_out(checked)} rows are in training "
            f"too, in other rows {examples(checked, shown, '~')}; near copies were looked for among "
            f"{checked.num_tried:,} rows",
            action=f"keep the rows of one {column.spec.nouns[0].split()[-1]} in one part of the split, by a column "
            f"that names it: data.split.type=group data.split.column=NAME",
        )


def _findings(
    checked: CheckedTable, groups: Sequence[np.ndarray], columns: tuple[str, ...], near: str
) -> Iterable[Finding]:
    known = _known(checked, groups)
    what = "near copies of" if near else "in all inputs equal to"
    sign = "~" if near else "="
    if known:
        numbers, table = checked.rows(np.array(known, dtype=np.int64))
        yield Finding(
            kind=f"{near}duplicates_across_splits",
            severity=Severity.WARNING,
            columns=columns,
            rows=numbers,
            table=table,
            message=f"{counted(len(known), 'row')} of {_held_out(checked)} {'is' if len(known) == 1 else 'are'} {what} "
            f"training rows {examples(checked, [group for group in groups if _spans(checked, group)], sign)}, so the "
            f"score is partly one of memory",
            action="leave them out of one side, or keep copies together: data.split.type=group with a column that "
            "names what was copied",
        )
    across = set(known)
    copies = [i for group in groups for i in group[1:].tolist() if i not in across]
    if copies:
        numbers, table = checked.rows(np.array(sorted(copies), dtype=np.int64))
        shown = [group for group in groups if np.isin(group, copies).any()]
        yield Finding(
            kind=f"{near}duplicates",
            severity=Severity.INFO,
            columns=columns,
            rows=numbers,
            table=table,
            message=f"{counted(len(copies), 'row')} {'is' if len(copies) == 1 else 'are'} {what} others "
            f"{examples(checked, shown, sign)}, which count twice",
            action="leave the copies out, unless rows may recur",
        )


def _known(checked: CheckedTable, groups: Sequence[np.ndarray]) -> list[int]:
    """Positions outside of training that a group shares with training, ascending; none where nothing is trained on."""
    if _TRAIN not in checked.parts:
        return []
    train = checked.parts.index(_TRAIN)
    result = []
    for group in groups:
        parts = checked.part_of[group]
        if (parts == train).any():
            result += group[(parts != train) & (parts >= 0)].tolist()
    return sorted(set(result))


def _spans(checked: CheckedTable, group: np.ndarray) -> bool:
    return len(set(checked.part_of[group].tolist()) - {-1}) > 1


def _held_out(checked: CheckedTable) -> str:
    """ "validation and test"."""
    return " and ".join(part for part in checked.parts if part != _TRAIN)

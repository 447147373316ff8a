"""Checked tables for the tests of detectors, made of plain cells: nothing is fitted, and nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from polysense.core.task_spec import Answer
from polysense.data.tables.sources import read_table
from polysense.evaluation.findings.checked import CheckedTable, CheckedTarget, ColumnRead
from polysense.workflows.check.columns import light_column

PARTS = ("train", "validation", "test")


def checked_table(
    cells: Mapping[str, tuple[str, Sequence[Any]]],
    labels: Sequence[str | None] | None = None,
    parts: Sequence[str] | None = None,
    **more: Any,
) -> CheckedTable:
    """A table as detectors see it.

    Args:
        cells: Per column its modality and its cells.
        labels: A class per row.
        parts: Per row the part of the split.
        more: Fields of `CheckedTable`.
    """
    table = read_table({name: list(values) for name, (_, values) in cells.items()})
    columns = [light_column([table], name, name, kind) for name, (kind, _) in cells.items()]
    targets = []
    if labels is not None:
        classes = tuple(sorted({label for label in labels if label is not None}))
        ids = np.array([-1 if label is None else classes.index(label) for label in labels], dtype=np.int64)
        targets = [
            CheckedTarget(
                name="label",
                columns=("label",),
                answer=Answer.CLASS,
                classes=classes,
                labels=ids,
                values=None,
                keys=ids,
            )
        ]
    names = ("all",) if parts is None else PARTS
    part_of = np.array([0 if parts is None else names.index(parts[i]) for i in range(len(table))], dtype=np.int64)
    return CheckedTable(
        name="table",
        parts=names,
        part_of=part_of,
        row_numbers=table.rows,
        tables=(None,) * len(names),
        is_drawn=False,
        columns=columns,
        targets=targets,
        **more,
    )


def with_signatures(checked: CheckedTable, column: str, signatures: np.ndarray) -> CheckedTable:
    """The same table with signatures of a column's cells, all of which can be told from others."""
    read = ColumnRead(positions=np.arange(len(checked)), signatures=signatures)
    columns = [
        replace(each, read=read, is_distinct=~each.missing) if each.name == column else each for each in checked.columns
    ]
    return replace(checked, columns=columns)


def clean_table(seed: int) -> CheckedTable:
    """A table in which there is nothing to find: columns of many kinds, some that tell the class, parts by chance."""
    draw = np.random.default_rng(seed)
    num, classes = int(draw.integers(60, 800)), int(draw.integers(2, 6))
    labels = draw.integers(0, classes, num)
    cells: dict[str, tuple[str, Sequence[Any]]] = {}
    for j in range(int(draw.integers(1, 12))):
        kind = int(draw.integers(0, 5))
        if kind == 0:
            cells[f"x{j}"] = ("number", (draw.normal(size=num) + draw.choice([0.0, 1.0]) * labels).tolist())
        elif kind == 1:
            cells[f"x{j}"] = ("number", draw.poisson(3, num).tolist())
        elif kind == 2:
            cells[f"x{j}"] = ("category", draw.choice(list("abcdefgh")[: int(draw.integers(2, 9))], num).tolist())
        elif kind == 3:
            values, gone = draw.lognormal(size=num), draw.random(num) < 0.1
            cells[f"x{j}"] = ("number", [None if g else float(v) for v, g in zip(values, gone, strict=True)])
        else:
            words = ["".join(draw.choice(list("abcdefghijklm"), 6)) for _ in range(300)]
            cells[f"x{j}"] = ("text", [" ".join(draw.choice(words, draw.integers(3, 20))) for _ in range(num)])
    parts = draw.choice(PARTS, num, p=(0.7, 0.1, 0.2)).tolist()
    return checked_table(cells, [f"c{label}" for label in labels], parts)

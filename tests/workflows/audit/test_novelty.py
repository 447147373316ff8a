"""A full audit scores how unlike rows are to the training rows, as they are and with a column changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from html_page import Page

import polysense
from polysense.bundle import load
from polysense.core.json import to_json
from polysense.data.tables.sources import read_table
from polysense.evaluation.audit.novelty import Novelty
from polysense.reports.environment import render_section
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.novelty import novelty_parts
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.scoring import evaluate_bundle


def test_rows_with_a_changed_column_are_scored(trained: Callable[[str], polysense.Run]) -> None:
    run = trained("classification")
    bundle, table = load(run.folder), read_table(run.folder.parent / "data.csv")
    evaluation = evaluate_bundle(bundle, table, bootstrap=0, seed=0)
    subject = AuditSubject(
        bundle=bundle,
        table=table,
        split="test",
        evaluation=evaluation,
        deadline=Deadline(60.0),
        training=table,
        is_full=True,
        bootstrap=50,
    )
    (part,) = novelty_parts(subject)
    assert isinstance(part, Novelty)
    words = [change.words for change in part.changes]
    assert "sound from another row" in words
    assert any(each.startswith("the photo damaged by ") for each in words)
    assert part.scores == (
        "distance to the nearest known rows",
        "Mahalanobis distance",
        "energy of the logits",
        "lack of certainty",
    )
    present = {"sound from another row": sum(cell is not None for cell in table.cells("sound")) - 1}  # one is broken
    for change in part.changes:
        assert change.num == present.get(change.words, change.num)
        assert all(0 <= value.low <= value.value <= value.high <= 1 for value in change.aurocs.values())
    Page(str(render_section(part.section())))
    to_json(part.record())
    assert novelty_parts(replace(subject, is_full=False)) == []
    assert novelty_parts(replace(subject, training=None)) == []
    assert novelty_parts(replace(subject, training=table.select(np.arange(5)))) == []

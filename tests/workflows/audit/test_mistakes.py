"""The worst predictions are shown with what went in, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from html_page import Page

import polysense
from polysense.bundle import load
from polysense.core.json import to_json
from polysense.data.tables.sources import read_table
from polysense.reports.environment import render_section
from polysense.training.time_plan import Deadline
from polysense.workflows.audit import mistakes
from polysense.workflows.audit.mistakes import Mistakes, measure_mistakes
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.scoring import evaluate_bundle

Trained = Callable[[str], polysense.Run]


@pytest.fixture
def subject(trained: Trained) -> AuditSubject:
    run = trained("retrieval")
    bundle, table = load(run.folder), read_table(run.folder.parent / "scenes.csv")
    evaluation = evaluate_bundle(bundle, table, bootstrap=0, seed=0)
    deadline = Deadline(60.0)
    return AuditSubject(bundle=bundle, table=table, split="test", evaluation=evaluation, deadline=deadline)


def worst(subject: AuditSubject) -> Mistakes:
    (part,) = measure_mistakes(subject)
    assert isinstance(part, Mistakes)
    return part


def test_a_mistake_is_shown_with_what_went_in_and_what_was_predicted(subject: AuditSubject) -> None:
    part = worst(subject)
    shown = [each for seen in part.seen for each in seen]
    assert shown
    for each in shown:
        assert [cell.column for cell in each.inputs] == ["photo", "text"]
        assert each.outputs
        assert each.words.startswith("rank ")
    markup = str(render_section(part.section()))
    Page(markup)
    assert "data:image/jpeg" in markup
    to_json(part.record())


def test_what_does_not_fit_the_page_is_only_named(subject: AuditSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = worst(subject)
    monkeypatch.setattr(mistakes, "_MOST_BYTES", 100)
    part = worst(subject)
    assert [[each.row for each in seen] for seen in part.seen] == [[each.row for each in seen] for seen in whole.seen]
    assert not any(each.inputs or each.outputs for seen in part.seen for each in seen)
    Page(str(render_section(part.section())))

"""An audit predicts rows with columns masked and says what the temperatures of their subsets do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import polysense
from polysense.bundle import load
from polysense.data.tables.sources import read_table
from polysense.evaluation.audit.temperatures import Temperatures
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.audit.temperatures import temperature_parts
from polysense.workflows.scoring import evaluate_bundle


@pytest.fixture(scope="module")
def subject(trained: Callable[[str], polysense.Run]) -> AuditSubject:
    run = trained("classification")
    bundle, table = load(run.folder), read_table(run.folder.parent / "data.csv")
    return AuditSubject(
        bundle=bundle, table=table, split="test", evaluation=evaluate_bundle(bundle, table, bootstrap=0, seed=0),
        deadline=Deadline(600.0), bootstrap=20,
    )  # fmt: skip


def test_subsets_are_scored_with_their_own_temperatures(subject: AuditSubject) -> None:
    (part,) = temperature_parts(subject)
    assert isinstance(part, Temperatures)
    names = subject.bundle.schema.names
    head = subject.bundle.model.head(part.target)
    whole = part.subsets[0]
    assert part.named(whole) == "all"
    for each in part.subsets:
        assert each.temperature == head.temperature_of(each.columns)
        assert len(each.columns) in (1, len(names) - 1, len(names))
        # A row that lacks one of the columns by itself is of another subset.
        has_them = [
            all(subject.table.cells(name)[row] is not None for name in each.columns)
            for row in range(len(subject.table))
        ]
        assert each.num <= sum(has_them)
    (full,) = temperature_parts(replace(subject, is_full=True))
    assert isinstance(full, Temperatures)
    assert len(full.subsets) > len(part.subsets)
    assert {each.columns for each in part.subsets} <= {each.columns for each in full.subsets}
    assert temperature_parts(replace(subject, is_seen=True)) == []


def test_where_there_is_no_time_it_is_said(subject: AuditSubject) -> None:
    deadline = Deadline(0.0)
    assert temperature_parts(replace(subject, deadline=deadline)) == []
    assert deadline.left_out == ["temperatures by subset on more than 0 of 72 rows"]


def test_a_model_that_is_not_calibrated_has_none(subject: AuditSubject) -> None:
    head = subject.bundle.model.head("label")
    before = {name: value.clone() for name, value in head.state_dict().items()}
    with torch.no_grad():
        for name, value in head.state_dict().items():
            if name.endswith(("temperature", "subset_factors.values")):
                value.fill_(1.0)
    try:
        assert temperature_parts(subject) == []
    finally:
        head.load_state_dict(before)

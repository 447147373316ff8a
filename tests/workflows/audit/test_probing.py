"""A model that is probed: changed batches are what they say, and time that runs out is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from html_page import Page
from json_schema import check_by_schema

import polysense
from polysense.bundle import load
from polysense.core.json import read_json
from polysense.core.registry import modality
from polysense.core.unsupported import Unsupported
from polysense.data.tables.sources import read_table
from polysense.evaluation.audit.corruptions import Corruptions
from polysense.evaluation.audit.mismatches import Mismatches
from polysense.evaluation.audit.missing_rates import MissingRates
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.result import audit_schema
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.changes import damaged, exchanged, masked
from polysense.workflows.audit.probing import probes
from polysense.workflows.audit.row_values import chunks
from polysense.workflows.audit.stacking import predict_variants
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.scoring import evaluate_bundle

Trained = Callable[[str], polysense.Run]


@pytest.fixture(scope="module")
def subject(trained: Trained) -> AuditSubject:
    run = trained("classification")
    bundle, table = load(run.folder), read_table(run.folder.parent / "data.csv")
    evaluation = evaluate_bundle(bundle, table, bootstrap=0, seed=0)
    return AuditSubject(
        bundle=bundle, table=table, split="all", evaluation=evaluation, deadline=Deadline(600.0), bootstrap=50
    )


def with_time(subject: AuditSubject, seconds: float) -> AuditSubject:
    return replace(subject, deadline=Deadline(seconds, now=lambda: 0.0))


def test_the_rows_as_they_are_have_the_evaluations_score(subject: AuditSubject) -> None:
    found: list[AuditPart] = probes(subject)
    rates, mismatch, corruption = found
    assert isinstance(rates, MissingRates)
    assert isinstance(mismatch, Mismatches)
    assert isinstance(corruption, Corruptions)
    accuracy = subject.evaluation.value("label", "accuracy")
    for score in (rates.model[0], mismatch.matched, corruption.clean):
        assert score.value == pytest.approx(accuracy)
    assert rates.num_rows == subject.evaluation.num_counted("label")
    assert sorted(rates.columns) == sorted(subject.bundle.schema.names)
    # What a column is damaged by is its modality's to say, and the quick audit takes the first.
    expected = {
        column.name: None if isinstance(known := modality(column.modality).corruptions, Unsupported) else known[0].name
        for column in subject.bundle.schema.columns
    }
    assert {each.column: each.corruption for each in corruption.damages} == expected
    assert {each.severities for each in corruption.damages} == {(1, 3, 5)}
    assert not subject.deadline.left_out


def test_probing_again_gives_the_same(subject: AuditSubject) -> None:
    once, again = ([part.record() for part in probes(subject)] for _ in range(2))
    assert once == again


def test_exchanged_cells_come_from_other_rows_that_have_the_column(subject: AuditSubject) -> None:
    (chunk,) = chunks(subject, 128, "test")
    for encoded in chunk.encoded(subject):
        batch, rows = encoded[0], chunk.rows(encoded[0])
        (changed, tokens), num_exchanged = exchanged(encoded, "weight (kg)", rows, 0)
        before, after = batch.columns["weight (kg)"], changed.columns["weight (kg)"]
        assert torch.equal(before.present, after.present)
        there = before.present
        alone = int(there.sum()) < 2  # it has no partner, and stays
        assert num_exchanged == (0 if alone else int(there.sum()))
        assert torch.equal(before.values[there].flatten().sort().values, after.values[there].flatten().sort().values)
        moved = (before.values[there] != after.values[there]).flatten()
        assert alone or bool(moved.all()), "a row kept its cell"
        assert torch.equal(tokens["weight (kg)"].mask, encoded[1]["weight (kg)"].mask)


def test_a_masked_cell_is_a_missing_one_and_stacking_changes_nothing(subject: AuditSubject) -> None:
    (chunk,) = chunks(subject, 128, "test")
    model, names = subject.bundle.model, subject.bundle.schema.names
    for encoded in chunk.encoded(subject):
        batch = encoded[0]
        none = np.zeros(len(batch), dtype=bool)
        variants = [encoded, masked(encoded, {"shop": none}), masked(encoded, dict.fromkeys(names, none))]
        apart = [model.predict(own, tokens=tokens, write=False)[0] for own, tokens in variants]
        together = [predictions for _, predictions in predict_variants(model, variants)]
        (without,) = model.predict(batch.only([name for name in names if name != "shop"]), write=False)
        for one, other in zip([*apart, apart[1]], [*together, without], strict=True):
            for name, values in one["label"].items():
                assert torch.allclose(values, other["label"][name], atol=1e-5), name


def test_damage_is_encoded_and_leaves_the_other_columns_alone(subject: AuditSubject) -> None:
    (chunk,) = chunks(subject, 128, "test")
    for name in subject.bundle.schema.names:
        known = modality(subject.bundle.schema.column(name).modality).corruptions
        assert not isinstance(known, Unsupported)
        for encoded in chunk.encoded(subject):
            rows = chunk.rows(encoded[0])
            batch, tokens = damaged(
                encoded,
                name,
                known[0],
                5,
                model=subject.bundle.model,
                dataset=chunk.dataset,
                rows=rows,
                seed=0,
            )
            present = encoded[0].columns[name].present
            assert torch.equal(batch.columns[name].present, present)
            if bool(present.any()):
                same = tokens[name].values.shape == encoded[1][name].values.shape
                assert not same or not torch.equal(tokens[name].values, encoded[1][name].values)
            for other in subject.bundle.schema.names:
                assert other == name or tokens[other] is encoded[1][other]
            break


def test_without_time_everything_is_left_out_and_said(subject: AuditSubject) -> None:
    late = with_time(subject, 0.0)
    assert probes(late) == []
    assert late.deadline.left_out == [
        f"{what}: no time was left" for what in ("missing cells", "columns from other rows", "damaged cells")
    ]


def test_what_the_model_was_trained_on_is_not_probed(subject: AuditSubject) -> None:
    seen = replace(with_time(subject, 600.0), is_seen=True)
    assert probes(seen) == []
    assert "was trained on these rows" in seen.deadline.left_out[0]


def test_the_file_is_of_its_schema(trained: Trained) -> None:
    run = trained("classification")
    document = read_json(Path(run.folder) / "audit.json", dict)
    schema = audit_schema()
    check_by_schema(document, schema)
    assert run.audit is not None
    assert document["targets"]["label"]["findings"] == run.audit.findings("label")


def test_an_audit_of_a_table_is_a_page_too(trained: Trained, tmp_path: Path) -> None:
    run = trained("classification")
    table = run.folder.parent / "data.csv"
    result = polysense.load(run.folder).audit(table, output=tmp_path / "out", bootstrap=20)
    assert repr(result).startswith(f"AuditResult(quick, {result.num_rows} data.csv rows: label ")
    assert len(repr(result).splitlines()) == 1
    assert result._repr_html_().startswith("<pre>label\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"audit.json", "audit.html"}
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    Page(page)
    assert "label: Column importance" in page
    assert all(f"{part.target}: {part.title}" in page for part in result.parts)
    for folder in (run.folder.parent, tmp_path):
        assert str(folder) not in page

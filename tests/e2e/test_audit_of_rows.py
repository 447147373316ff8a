"""An audit of a planted table whose model fails for one device: the slice, the group, certainty and mistakes."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest

import polysense
from polysense.core.json import to_json
from polysense.evaluation.audit.result import AuditResult

ROWS = 900


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> AuditResult:
    """Of a model of a number; an old device, which only the test rows have, measures nothing."""
    folder, draws = tmp_path_factory.mktemp("devices"), np.random.default_rng(0)
    split = np.array(["train"] * 400 + ["validation"] * 150 + ["test"] * (ROWS - 550))
    old = (split == "test") & (draws.random(ROWS) < 0.3)
    signal = draws.normal(size=ROWS)
    label = np.where(old, draws.normal(size=ROWS), signal) > 0
    rows = {
        "signal": signal.round(4),
        "noise": draws.normal(size=ROWS).round(4),
        "device": np.where(old, "old", "new"),
        "site": draws.choice(["x", "z"], ROWS),
        "split": split,
        "label": np.where(label, "yes", "no"),
    }
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows)
        writer.writerows(zip(*(values.tolist() for values in rows.values()), strict=True))
    run = polysense.fit(
        folder / "table.csv",
        target="label",
        columns={"device": "ignored", "site": "ignored"},
        preset="fast",
        output=folder / "run",
        overrides=[
            "model.heads.label={type: classification}",
            "evaluation.simple_baselines=false",
            "evaluation.report=false",
            "evaluation.bootstrap=200",
            "evaluation.samples=0",
            "training.tensorboard=false",
            "training.epochs=8",
            "training.batch_size=32",
        ],
        progress=False,
    )
    return polysense.audit(run.folder, folder / "table.csv", split="test", by=["device", "site"], bootstrap=300)


def record(result: AuditResult, name: str) -> dict[str, Any]:
    """A part's numbers."""
    (part,) = [part for part in result.of("label") if part.name == name]
    plain = to_json(part.record())
    assert isinstance(plain, dict)
    return plain


def test_the_slice_that_fails_is_named(result: AuditResult) -> None:
    worst = record(result, "slices")["worst"]
    assert [each["slice"] for each in worst] == ["device = old"]
    assert worst[0]["score"]["high"] < worst[0]["elsewhere"]
    assert any(sentence.startswith("device = old: accuracy 0.") for sentence in result.findings("label"))


def test_the_group_that_fails_is_named_and_the_others_are_not(result: AuditResult) -> None:
    device, site = record(result, "groups")["columns"]
    assert (device["worst"], device["best"]) == ("old", "new")
    assert device["gap"]["low"] > 0.2
    assert site["gap"]["low"] < 0


def test_certainty_is_called_too_high_and_sets_too_small_where_they_are(result: AuditResult) -> None:
    sets = record(result, "conformal")["sets"][0]
    groups = {(group["source"], group["value"]): group["coverage"] for group in sets["groups"]}
    assert groups["device", "old"]["high"] < 0.9 < groups["device", "new"]["high"]
    assert any("rows with device = old the sets hold the truth in" in each for each in result.findings("label"))
    assert record(result, "calibration")["metrics"]["ece"]["value"] > 0.1


def test_mistakes_are_mostly_those_of_the_device(result: AuditResult) -> None:
    groups = record(result, "mistakes")["groups"]
    assert {group["title"] for group in groups} == {"no, predicted as yes", "yes, predicted as no"}
    assert sum(group["num_rows"] for group in groups) > 30

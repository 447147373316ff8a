"""Audits of planted tables: what decides, what is noise, what is a copy, what breaks, and what nothing can be said of.

Verdicts and sentences are those of audit.json, as a reader has them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_scripts import load

import polysense
from polysense.core.json import read_json
from polysense.evaluation.evaluator import Evaluation, score

AUDITS = load("audits")
ROWS = 480
CLASSES = np.array(["no", "yes"])
QUICK = (
    "data.split.test=0.5",
    "training.tensorboard=false",
    "evaluation.bootstrap=300",
    "evaluation.samples=0",
    "evaluation.report=false",
)
NETWORK = (
    "model.heads.label={type: classification}",
    "evaluation.simple_baselines=false",
    "training.epochs=6",
    "training.batch_size=32",
)
"""A network alone, which takes a second."""


def audited(
    folder: Path, columns: Mapping[str, Any], label: np.ndarray, *overrides: str
) -> tuple[dict[str, Any], list[str]]:
    """The columns' entries by name and the findings, as audit.json has them, of a model of a table.

    Args:
        folder: Where all of it lies.
        columns: The inputs, and others.
        label: Whether each row is a yes.
        overrides: Of the recipe.
    """
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "label"])
        writer.writerows(zip(*columns.values(), CLASSES[label.astype(int)], strict=True))
    polysense.fit(
        folder / "table.csv",
        target="label",
        preset="fast",
        output=folder / "run",
        overrides=list(overrides),
        progress=False,
    )
    target = read_json(folder / "run" / "audit.json", dict)["targets"]["label"]
    return {column["name"]: column for column in target["columns"]}, target["findings"]


def only(findings: Sequence[str], start: str) -> str:
    """The one sentence that begins so."""
    sentences = [each for each in findings if each.startswith(start)]
    assert len(sentences) == 1, f"{start!r}: {sentences} of {findings}"
    return sentences[0]


def test_what_decides_what_is_noise_and_what_is_a_copy(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    label = draws.integers(0, 2, ROWS)
    a = np.where(label, 1.0, -1.0) + draws.normal(0, 0.8, ROWS)
    columns, findings = audited(tmp_path, {"a": a, "b": draws.normal(size=ROWS), "c": a}, label, *QUICK)
    assert columns["a"]["verdict"] in ("helps", "redundant")
    assert columns["b"]["verdict"] in ("no help", "inconclusive")
    assert columns["c"]["verdict"] == columns["a"]["verdict"] == "redundant"
    assert columns["a"]["unimodal"]["low"] > 0.8
    assert columns["a"]["shapley"]["low"] > 0 > columns["b"]["shapley"]["low"]
    for column in columns.values():
        for number in ("drop", "unimodal", "shapley"):
            assert column[number]["low"] <= column[number]["value"] <= column[number]["high"]
    assert "a (number) and c (number) are redundant" in findings[0]
    assert only(findings, "a and c say the same in part: −")
    assert only(findings, "With another row's a: −")
    assert only(findings, "Whether b comes from the same row makes no difference that can be told.")
    assert not any(each.startswith("b damaged by") for each in findings)


def test_of_an_exclusive_or_both_columns_help_and_neither_does_alone(tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    p, q = draws.integers(0, 2, ROWS), draws.integers(0, 2, ROWS)
    columns, findings = audited(
        tmp_path, {"p": np.array(["left", "right"])[p], "q": np.array(["up", "down"])[q]}, p ^ q, *QUICK
    )
    for column in columns.values():
        assert column["verdict"] == "helps"
        assert column["note"] == "helps only together with others"
        assert column["unimodal"]["low"] < 0.5 < column["unimodal"]["high"]
    assert columns["p"]["shapley"]["value"] == pytest.approx(columns["q"]["shapley"]["value"], abs=0.06)
    assert only(findings, "p and q work together: +")
    assert only(findings, "With another row's p: −")


def test_a_column_that_breaks_in_the_test_rows_hurts(tmp_path: Path) -> None:
    draws = np.random.default_rng(2)
    label, half = draws.integers(0, 2, ROWS), ROWS // 2
    split = np.array(["train"] * (half - 60) + ["validation"] * 60 + ["test"] * half)
    a, b = (np.where(label, 1.0, -1.0) + draws.normal(0, 0.9, ROWS) for _ in range(2))
    b[half:] = -b[half:]
    columns, findings = audited(tmp_path, {"a": a, "b": b, "split": split}, label, *QUICK[1:], *NETWORK)
    assert columns["a"]["verdict"] == "helps"
    assert columns["b"]["verdict"] == "hurts"
    assert columns["b"]["drop"]["high"] < 0
    assert findings[0].endswith("b (number) hurts.")
    assert only(findings, "With b and nothing else the accuracy is 0.")
    assert only(findings, "Adding a column to others lowers the accuracy in 2 of 4 cases")


def test_of_eight_columns_the_two_that_matter_are_named(tmp_path: Path) -> None:
    draws = np.random.default_rng(3)
    numbers = draws.normal(size=(ROWS, 8))
    label = numbers[:, 0] + numbers[:, 1] + draws.normal(0, 0.3, ROWS) > 0
    columns, findings = audited(
        tmp_path, {f"x{i}": numbers[:, i] for i in range(8)}, label, *QUICK, *NETWORK, "training.epochs=15"
    )
    helping = {name: column for name, column in columns.items() if column["verdict"] == "helps"}
    assert set(helping) == {"x0", "x1"}, helping
    assert not {column["verdict"] for column in columns.values()} & {"hurts", "redundant"}
    assert findings[0].startswith(("label: x0 (number) helps most", "label: x1 (number) helps most"))
    assert list(columns)[:2] in (["x0", "x1"], ["x1", "x0"])


def test_a_text_that_gives_the_label_away_is_all_that_helps(tmp_path: Path) -> None:
    draws = np.random.default_rng(4)
    label = draws.integers(0, 2, ROWS)
    notes = [
        f"ward {draws.integers(9)} {'positive' if each else 'negative'} sample {i}" for i, each in enumerate(label)
    ]
    columns, findings = audited(
        tmp_path, {"note": notes, "age": draws.normal(50, 9, ROWS)}, label, *QUICK, *NETWORK, "training.epochs=15"
    )
    assert columns["note"]["verdict"] == "helps"
    assert columns["age"]["verdict"] in ("no help", "inconclusive")
    assert columns["note"]["drop"]["low"] > 0.3
    assert only(findings, "note damaged by typos (severity 5): −")
    assert only(findings, "With half of the cells missing at random the accuracy is 0.")


def test_of_a_model_that_is_no_better_than_guessing_nothing_is_claimed(tmp_path: Path) -> None:
    audit = AUDITS.audit_of_noise(tmp_path, 5)
    findings = audit["targets"]["label"]["findings"]
    assert AUDITS.claims(audit, "label") == []
    assert findings[0].startswith("label: no column shows measurable help")
    assert "The model is not measurably better than guessing, so what it would lose can not be told." in findings


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_on_noise_at_most_five_of_a_hundred_tables_claim_anything(tmp_path: Path) -> None:
    said = {}
    for seed in range(100):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if claimed := AUDITS.claims(AUDITS.audit_of_noise(folder, seed), "label"):
            said[seed] = claimed
    assert len(said) <= 5, said


def test_intervals_are_over_groups_where_groups_stay_whole(tmp_path: Path) -> None:
    draws = np.random.default_rng(6)
    persons = draws.integers(0, 40, ROWS)
    # A person's rows are alike: forty persons are forty observations, whatever the number of rows.
    kinds = draws.integers(0, 2, 40)
    columns = {"a": (kinds + draws.normal(0, 0.7, 40))[persons], "b": draws.normal(size=ROWS), "person": persons}
    label = kinds[persons]
    setting = "data.split={type: group, column: person, test: 0.5, validation: 0.2}"
    entries, _ = audited(tmp_path, columns, label, setting, *QUICK[1:], *NETWORK)
    assert "person" not in entries
    evaluation = polysense.evaluate(tmp_path / "run", tmp_path / "table.csv", split="test", bootstrap=300).evaluation
    assert evaluation.clusters is not None
    alone = score(evaluation.targets, evaluation.rows, evaluation.statistics, bootstrap=300)

    def width(scored: Evaluation) -> float:
        log_loss = scored.metrics["label"]["log_loss"]
        return log_loss.high - log_loss.low

    assert width(evaluation) > 1.3 * width(alone)

"""At 80 columns nothing that a command prints is wider, paths aside, and nothing is cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import polysense
from polysense import api
from polysense.evaluation.comparison import Entry, Measure, compare_entries
from polysense.reports.comparison_terminal import comparison_text

WIDTH = 80


def assert_fits(text: str, *paths: Path) -> None:
    """Every line of a text fits, or holds one of the paths, which nobody can break."""
    wide = [line for line in text.splitlines() if len(line) > WIDTH and not any(str(path) in line for path in paths)]
    assert not wide, wide[:5]


@pytest.fixture
def run(trained: Callable[[str], polysense.Run]) -> polysense.Run:
    return trained("classification")


def test_a_training_ends_in_80_columns(run: polysense.Run) -> None:
    text = run.summary()
    assert_fits(text, run.folder)
    assert text.startswith("label: "), "the verdict comes first"
    verdict = " ".join(text.split("\n\n")[0].split())
    assert any(words in verdict for words in ("better than", "different from", "worse than"))
    assert "train…" not in text, "no head is cut"


def test_a_check_and_scores_fit(run: polysense.Run) -> None:
    table = run.folder.parent / "data.csv"
    assert_fits(api.check(table, target="label").text(), table)
    scores = api.evaluate(run.bundle, table, bootstrap=50, split="test")
    assert_fits(scores.text(), table)
    assert scores.text().startswith("label: ")


def test_an_audit_and_a_comparison_fit(run: polysense.Run) -> None:
    assert run.audit is not None
    assert_fits(run.audit.text())
    values = {"test": {seed: {f"a target of a name/{name}": 0.5 for name in METRICS} for seed in range(3)}}
    entries = [Entry(name=f"model.fusion.type=concat, number {i}", values=values) for i in range(3)]
    measures = [Measure(key=f"a target of a name/{name}") for name in METRICS]
    compared = compare_entries(entries, measures, split="test", seeds=range(3), title="t")
    assert_fits(comparison_text(compared))


METRICS = ("balanced_accuracy", "log_loss", "f1_macro", "average_precision", "ece_debiased")

"""Held-out rows are scored as far as there is time; in parts they get what all at once would have given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import polysense
from polysense.training.time_plan import Deadline
from polysense.workflows import scores_in_time
from polysense.workflows.scores_in_time import scored_in_time
from polysense.workflows.scoring import evaluate_bundle

Trained = Callable[[str], polysense.Run]


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores_in_time, "_FEWEST_ROWS", 8)
    monkeypatch.setattr(scores_in_time, "_FIRST_ROWS", 5)
    monkeypatch.setattr(scores_in_time, "_GROWTH", 2)


def test_parts_give_what_all_rows_at_once_give(trained: Trained) -> None:
    run = trained("classification")
    table = run.bundle.read(next(run.folder.parent.glob("*.csv")))
    whole = evaluate_bundle(run.bundle, table, bootstrap=20, seed=3)
    deadline = Deadline(1000.0, lambda: 0.0)
    scores, rows = scored_in_time(run.bundle, table, deadline, split="test", bootstrap=20, seed=3)
    assert rows is table
    assert deadline.left_out == []
    assert scores.as_metrics_json() == whole.as_metrics_json()
    assert np.array_equal(scores.rows, whole.rows)
    for target, statistics in whole.statistics.items():
        for name, values in statistics.items():
            np.testing.assert_array_equal(scores.statistics[target][name], values)


def test_a_machine_that_becomes_slow_scores_a_sample_and_says_so(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("classification")
    table = run.bundle.read(next(run.folder.parent.glob("*.csv")))
    now, pace = [0.0], iter([0.1, 4.0, 4.0, 4.0])

    def slow(*arguments: Any, **options: Any) -> Any:
        now[0] += next(pace) * len(arguments[1])
        return evaluate_bundle(*arguments, **options)

    monkeypatch.setattr(scores_in_time, "evaluate_bundle", slow)
    deadline = Deadline(60.0, lambda: now[0])
    scores, rows = scored_in_time(run.bundle, table, deadline, split="test", bootstrap=20, seed=3)
    # Five rows, then ten, which take 40 s, and as many as fit into the rest.
    assert len(rows) == scores.num_rows == 5 + 10 + 4
    assert deadline.left_out == [f"scores of {len(table) - 19} of {len(table)} test rows"]
    assert now[0] <= 60
    now[0], pace = 59.0, iter([1.0, 1.0])
    least, _ = scored_in_time(run.bundle, table, deadline, split="test", bootstrap=0, seed=3)
    assert least.num_rows == 8, "in any case"
    alone = evaluate_bundle(run.bundle, rows, bootstrap=20, seed=3)
    assert scores.as_metrics_json() == alone.as_metrics_json()

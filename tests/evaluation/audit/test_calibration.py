"""Probabilities that are right are called so, and those that are not are found."""

from __future__ import annotations

import numpy as np
import pytest
from audited import audit_input
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.json import to_json
from polysense.evaluation.audit.calibration import equal_count_bins, measure_calibration
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget

LABEL = ClassificationTarget(name="y", columns=("y",), classes=("a", "b", "c"), class_counts=(5, 5, 5))
FLAG = ClassificationTarget(name="y", columns=("y",), classes=("no", "yes"), class_counts=(5, 5))


def predictions(num_rows: int, sharpness: float, seed: int = 0, num_classes: int = 3) -> dict[str, np.ndarray]:
    """Classes drawn from the very probabilities at a sharpness of 1; above it these are overconfident."""
    draws = np.random.default_rng(seed)
    logits = 1.5 * draws.normal(size=(num_rows, num_classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (draws.random(num_rows)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(max=num_classes - 1)
    said = np.exp(sharpness * logits)
    said /= said.sum(axis=1, keepdims=True)
    return {
        "present": np.ones(num_rows, dtype=bool),
        "truth": truth,
        "predicted": said.argmax(axis=1),
        "probabilities": said.astype(np.float32),
    }


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.8, 0.999, 1.0]) | st.floats(0, 1), min_size=1), st.integers(1, 15))
def test_bins_are_in_order_and_without_gaps(values: list[float], num_bins: int) -> None:
    array = np.array(values)
    bins = equal_count_bins(array, num_bins)
    assert set(bins) == set(range(bins.max() + 1))
    assert bins.max() < num_bins
    order = np.argsort(array, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    for value in set(values):
        assert len(set(bins[array == value])) == 1


def test_distinct_values_fill_bins_equally() -> None:
    counts = np.bincount(equal_count_bins(np.random.default_rng(0).random(150), 15))
    assert counts.tolist() == [10] * 15


def test_true_probabilities_are_rarely_called_wrong() -> None:
    """At most about one in twenty."""
    called = 0
    for seed in range(60):
        part = measure_calibration(audit_input(LABEL, predictions(200, 1.0, seed), seed=seed))
        assert part is not None
        called += not part.findings()[0].startswith("Neither")
    assert called <= 7


@pytest.mark.parametrize(("sharpness", "word"), [(3.0, "overconfident"), (0.3, "underconfident")])
def test_wrong_probabilities_are_found(sharpness: float, word: str) -> None:
    part = measure_calibration(audit_input(LABEL, predictions(400, sharpness)))
    assert part is not None
    (sentence,) = part.findings()
    assert sentence.startswith(f"The model is {word} by ")
    assert "on 400 test rows" in sentence
    assert part.adaptive_error.value > 0.08
    assert {metric.name for metric in part.metrics} == {"ece", "ece_debiased", "brier", "log_loss"}
    assert sum(each.num for each in part.bins) == 400
    assert all(each.low <= each.mean <= each.high for each in part.bins)
    to_json(part.record())


def test_two_classes_are_judged_by_the_second() -> None:
    statistics = predictions(300, 1.0, num_classes=2)
    statistics["probabilities"] = np.column_stack([np.full(300, 0.1), np.full(300, 0.9)]).astype(np.float32)
    part = measure_calibration(audit_input(FLAG, statistics))
    assert part is not None
    assert len(part.bins) == 1
    (sentence,) = part.findings()
    assert sentence.startswith("Probabilities of 'yes' are too high by ")


def test_a_shares_interval_is_exact_at_its_edge() -> None:
    statistics = predictions(40, 1.0)
    statistics["truth"] = statistics["predicted"]
    part = measure_calibration(audit_input(LABEL, statistics))
    assert part is not None
    share = part.bins[-1].share
    assert share.value == share.high == 1
    assert 0.7 < share.low < 0.9


def test_groups_widen_the_intervals() -> None:
    """Every row ten times, as of one speaker."""
    once = predictions(60, 2.0)
    tenfold = {name: np.repeat(values, 10, axis=0) for name, values in once.items()}
    groups = np.repeat(np.arange(60), 10)
    alone = measure_calibration(audit_input(LABEL, tenfold))
    grouped = measure_calibration(audit_input(LABEL, tenfold, clusters=groups))
    assert alone is not None
    assert grouped is not None
    assert grouped.excess.high - grouped.excess.low > 2 * (alone.excess.high - alone.excess.low)
    widths = [[each.share.high - each.share.low for each in part.bins] for part in (alone, grouped)]
    assert np.mean(widths[1]) > 1.5 * np.mean(widths[0])


def test_too_few_rows_say_so_and_no_probabilities_say_nothing() -> None:
    part = measure_calibration(audit_input(LABEL, predictions(4, 1.0)))
    assert part is not None
    assert part.findings() == ["4 rows are too few to judge the probabilities; 10 are needed."]
    price = RegressionTarget(name="y", columns=("y",), mean=(0.0,), std=(1.0,))
    assert measure_calibration(audit_input(price, {"present": np.ones(3, dtype=bool)})) is None
    unknown = predictions(20, 1.0) | {"probabilities": np.full((20, 3), np.nan, dtype=np.float32)}
    assert measure_calibration(audit_input(LABEL, unknown)) is None


def test_labels_of_one_row_are_drawn_together() -> None:
    target = MultilabelTarget(name="y", columns=("y",), classes=("red", "big"), class_counts=(5, 5))
    draws = np.random.default_rng(0)
    probabilities = draws.random((50, 2)).astype(np.float32)
    statistics = {
        "present": np.ones(50, dtype=bool),
        "truth": draws.random((50, 2)) < probabilities,
        "predicted": probabilities > 0.5,
        "probabilities": probabilities,
    }
    part = measure_calibration(audit_input(target, statistics))
    assert part is not None
    assert part.num == 100
    assert part.judgments == "labels"


def test_few_rows_that_are_all_right_do_not_make_a_model_underconfident() -> None:
    """72 of 72 may well be 99 of 100."""
    statistics = predictions(72, 1.0)
    statistics["truth"] = statistics["predicted"]
    statistics["probabilities"] = np.full((72, 3), 0.005, dtype=np.float32)
    statistics["probabilities"][np.arange(72), statistics["predicted"]] = 0.99
    part = measure_calibration(audit_input(LABEL, statistics))
    assert part is not None
    assert part.findings()[0].startswith("Neither")

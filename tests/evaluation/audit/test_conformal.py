"""Sets cover what they promise on rows that did not fit them, and a group that is covered less is named."""

from __future__ import annotations

import numpy as np
import pytest
from audited import audit_input

from polysense.core.json import to_json
from polysense.evaluation.audit.conformal import LEVEL, measure_conformal
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.tagging.record import TaggingTarget

LABEL = ClassificationTarget(name="y", columns=("y",), classes=("a", "b", "c"), class_counts=(5, 5, 5))
PRICE = RegressionTarget(name="y", columns=("y",), mean=(0.0,), std=(1.0,), units=("EUR",))


def classes(num_rows: int, seed: int, hard: np.ndarray | None = None) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, 3, num_rows)
    signal = np.where(hard if hard is not None else np.zeros(num_rows, dtype=bool), 0.0, 2.0)
    logits = draws.normal(size=(num_rows, 3)) + signal[:, None] * np.eye(3)[truth]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    present = np.ones(num_rows, dtype=bool)
    predicted = probabilities.argmax(axis=1)
    return {"present": present, "truth": truth, "predicted": predicted, "probabilities": probabilities}


def numbers(num_rows: int, seed: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    truth = draws.normal(size=(num_rows, 1)).astype(np.float32)
    predicted = (truth + draws.normal(size=truth.shape)).astype(np.float32)
    return {"present": np.ones(num_rows, dtype=bool), "truth": truth, "predicted": predicted}


def test_cross_conformal_sets_cover_as_promised() -> None:
    shares = []
    for seed in range(40):
        part = measure_conformal(audit_input(LABEL, classes(150, seed), seed=seed, bootstrap=0))
        assert part is not None
        (coverage,) = part.coverages
        assert coverage.num == 150
        shares.append(coverage.coverage.value)
    assert LEVEL - 0.01 < np.mean(shares) < LEVEL + 0.03


def test_rows_that_fit_are_not_those_that_judge() -> None:
    """On the validation rows themselves the sets would be right by construction, whatever the other rows are."""
    apart = classes(300, 0) | {"truth": classes(300, 0)["predicted"]}  # far surer than the judged rows
    part = measure_conformal(audit_input(LABEL, classes(300, 1), calibration=apart))
    assert part is not None
    assert part.fitted_on == "300 validation rows"
    (coverage,) = part.coverages
    assert coverage.coverage.high < LEVEL
    assert "fewer than promised" in part.findings()[0]
    assert coverage.coverage.low < coverage.coverage.value < coverage.coverage.high


def test_a_group_that_is_covered_less_is_named() -> None:
    site = np.random.default_rng(0).choice(["x", "z"], 500, p=[0.85, 0.15])
    statistics = classes(500, 0, site == "z")
    part = measure_conformal(audit_input(LABEL, statistics, {"site": site.tolist()}, by=("site",)))
    assert part is not None
    first, second = part.findings()
    assert first.startswith("Sets that are to hold the truth in 90% hold it in ")
    assert abs(part.coverages[0].coverage.value - LEVEL) < 0.03
    assert "rows with site = z the sets hold the truth in" in second
    assert sum(part.coverages[0].sizes.values()) == pytest.approx(1.0)
    assert {group.source for group in part.coverages[0].groups} == {"true class", "site"}
    to_json(part.record())


def test_intervals_have_a_width_in_the_tables_unit() -> None:
    part = measure_conformal(audit_input(PRICE, numbers(300, 0), calibration=numbers(300, 1)))
    assert part is not None
    (coverage,) = part.coverages
    assert coverage.size_name == "width of an interval (EUR)"
    assert 2.8 < coverage.size < 3.8  # 2 x 1.645
    assert coverage.sizes == {}


def test_groups_of_rows_are_kept_whole() -> None:
    """Every row ten times: without its group a row would be judged by its copies, which are as sure as it is."""
    once = numbers(12, 0)
    tenfold = {name: np.repeat(values, 10, axis=0) for name, values in once.items()}
    part = measure_conformal(audit_input(PRICE, tenfold, clusters=np.repeat(np.arange(12), 10)))
    assert part is not None
    assert part.coverages[0].coverage.high - part.coverages[0].coverage.low > 0.15


def test_too_few_rows_and_other_tasks_have_none() -> None:
    assert measure_conformal(audit_input(LABEL, classes(9, 0))) is None
    part = measure_conformal(audit_input(PRICE, numbers(12, 0), calibration=numbers(5, 0)))
    assert part is not None
    assert part.findings() == ["There are too few rows to fit intervals that leave anything out at 90%."]
    to_json(part.record())
    tags = TaggingTarget(name="y", columns=("y",), classes=("a",), class_lengths=(0.1,), over="t")
    assert measure_conformal(audit_input(tags, {"present": np.ones(30, dtype=bool)})) is None

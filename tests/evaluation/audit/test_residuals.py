"""A bias is found, a bend is told from chance, and the intervals' coverage is counted exactly."""

from __future__ import annotations

import numpy as np
import pytest
from audited import audit_input

from polysense.core.binomial import binomial_interval
from polysense.core.json import to_json
from polysense.evaluation.audit.residuals import measure_residuals
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

PRICE = RegressionTarget(name="price", columns=("price",), mean=(0.0,), std=(1.0,), units=("EUR",), interval=0.9)


def numbers(num_rows: int, seed: int = 0, bias: float = 0.0, bend: float = 0.0) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    predicted = draws.normal(size=(num_rows, 1))
    truth = predicted - bias - bend * (predicted**2 - 1) + 0.5 * draws.normal(size=predicted.shape)
    truth[::9] = np.nan
    arrays = {"truth": truth, "predicted": predicted, "low": predicted - 0.8225, "high": predicted + 0.8225}
    present = np.isfinite(truth).any(axis=1)
    return {"present": present, **{name: array.astype(np.float32) for name, array in arrays.items()}}


def test_no_bias_is_claimed_where_there_is_none() -> None:
    claimed = 0
    for seed in range(60):
        part = measure_residuals(audit_input(PRICE, numbers(150, seed), seed=seed))
        assert part is not None
        claimed += "too" in part.findings()[0] and "neither" not in part.findings()[0]
    assert claimed <= 7


def test_a_bias_has_its_direction_and_unit() -> None:
    part = measure_residuals(audit_input(PRICE, numbers(300, bias=0.5)))
    assert part is not None
    assert part.findings()[0].startswith("Predictions of price are too high by 0.5")
    assert " EUR on average (" in part.findings()[0]
    low = measure_residuals(audit_input(PRICE, numbers(300, bias=-0.5)))
    assert low is not None
    assert "too low by" in low.findings()[0]


def test_a_bend_shows_in_its_bins() -> None:
    part = measure_residuals(audit_input(PRICE, numbers(500, bend=0.4)))
    assert part is not None
    (number,) = part.numbers
    assert number.bins[0].residual.low > 0
    assert number.bins[-1].residual.low > 0
    assert min(each.residual.high for each in number.bins) < 0
    assert sum(each.num for each in number.bins) == number.num
    straight = measure_residuals(audit_input(PRICE, numbers(500)))
    assert straight is not None
    assert all(each.residual.low < 0 < each.residual.high for each in straight.numbers[0].bins)


def test_coverage_is_counted_exactly() -> None:
    statistics = numbers(200)
    part = measure_residuals(audit_input(PRICE, statistics))
    assert part is not None
    (number,) = part.numbers
    known = statistics["present"]
    inside = (statistics["truth"] >= statistics["low"]) & (statistics["truth"] <= statistics["high"])
    hits, total = int(inside[known].sum()), int(known.sum())
    assert number.coverage.value == pytest.approx(hits / total)
    assert (number.coverage.low, number.coverage.high) == pytest.approx(binomial_interval(hits, total))
    to_json(part.record())


def test_few_rows_and_other_tasks_have_none() -> None:
    part = measure_residuals(audit_input(PRICE, numbers(5)))
    assert part is not None
    assert part.findings() == ["price: 4 rows are too few to judge residuals; 10 are needed."]
    nothing = numbers(5) | {"truth": np.full((5, 1), np.nan, dtype=np.float32)}
    assert measure_residuals(audit_input(PRICE, nothing)) is None
    label = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(5, 5))
    assert measure_residuals(audit_input(label, {"present": np.ones(3, dtype=bool)})) is None

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.metric import higher, lower
from polysense.evaluation.label_curves import LabelCurves, StrategyCurve, area, compare_curves, labels_needed
from polysense.evaluation.significance import Outcome

ACCURACY = higher("accuracy", "Share of rows that are right.")


def curves_of(scores: dict[str, np.ndarray], full: np.ndarray, **changes: object) -> dict[str, StrategyCurve]:
    given = {"empty": 0.1, "numbers": [10, 20, 40], "metric": ACCURACY, "seed": 0} | changes
    return {curve.strategy: curve for curve in compare_curves(scores, full, **given)[0]}  # type: ignore[arg-type]


def test_the_area_is_the_mean_over_the_logarithm_by_hand() -> None:
    assert area([10, 20, 80], np.array([0.2, 0.4, 0.8])) == pytest.approx((0.3 * 1 + 0.6 * 2) / 3)
    assert area([7], np.array([0.5])) == 0.5


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_an_area_lies_between_the_lowest_and_the_highest_score(scores: list[float]) -> None:
    result = float(area([2**k for k in range(len(scores))], np.array(scores)))
    assert min(scores) - 1e-9 <= result <= max(scores) + 1e-9


def test_labels_needed_lie_between_two_points_and_are_infinite_where_none_reaches_the_goal() -> None:
    scores = np.array([[0.2, 0.6, 0.1], [0.4, 0.7, 0.2], [0.8, 0.8, 0.3]])
    needed = labels_needed([10, 20, 80], scores, np.array([0.6, 0.5, 0.6]))
    assert needed[0] == pytest.approx(40.0)
    assert needed[1] == pytest.approx(10.0)
    assert math.isinf(needed[2])


def test_a_curve_that_falls_again_reached_the_goal_once() -> None:
    assert labels_needed([10, 20, 40], np.array([0.1, 0.9, 0.2]), np.array(0.9)) == pytest.approx(20.0)


def _scores(gain: float, noise: float = 0.01, seeds: int = 5, resamples: int = 200) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    base = np.array([0.4, 0.6, 0.8]) + generator.normal(size=(seeds, 1)) * 0.1
    shared = generator.normal(size=(1, 1, resamples + 1)) * 0.05  # which rows were drawn moves both alike
    shared[..., 0] = 0.0
    random = base[..., None] + shared
    return {"random": random, "margin": random + gain + noise * generator.normal(size=random.shape)}


@pytest.mark.parametrize(("gain", "outcome"), [(0.05, Outcome.BETTER), (-0.05, Outcome.WORSE), (0.0, Outcome.NONE)])
def test_strategies_are_compared_with_random_rows_in_pairs(gain: float, outcome: Outcome) -> None:
    result = curves_of(_scores(gain), np.full(201, 0.9))
    assert result["random"].gain is None
    assert result["random"].area.high - result["random"].area.low > 0.1  # alone it is not sure at all
    assert result["margin"].outcome is outcome
    assert result["margin"].gain is not None
    assert result["margin"].gain.value == pytest.approx(gain, abs=0.01)


def test_of_an_error_lower_is_better_and_the_goal_is_measured_from_no_labels() -> None:
    error = lower("mean_absolute_error", "Mean absolute error.")
    falling = 10 - _scores(0.05)["random"] * 10
    scores = {"random": falling, "margin": falling - 0.5}
    curves, _, goal = compare_curves(scores, np.full(201, 2.0), 8.0, [10, 20, 40], error, seed=0)
    assert goal == pytest.approx(8 - 0.9 * 6)
    assert curves[1].outcome is Outcome.BETTER
    assert curves[1].gain is not None
    assert curves[1].gain.value == pytest.approx(0.5)
    assert curves[1].labels_needed.value < curves[0].labels_needed.value


def result_of(gains: list[float]) -> LabelCurves:
    scores = _scores(0.0)
    for k, gain in enumerate(gains):
        scores[f"strategy {k}"] = scores["random"] + gain
    del scores["margin"]
    curves, full, goal = compare_curves(scores, np.full(201, 0.9), 0.1, [10, 20, 40], ACCURACY, seed=0)
    return LabelCurves(
        target="label", metric=ACCURACY, numbers=(10, 20, 40), full=full, goal=goal, curves=curves, num_pool=100,
        num_tested=50, num_groups=None, num_seeds=5, split="test", features="x",
    )  # fmt: skip


def test_the_verdict_says_when_random_rows_win_or_nothing_differs() -> None:
    assert "Take strategy 1" in result_of([0.05, 0.1]).verdict()
    assert "Better than random rows, too: strategy 0." in result_of([0.05, 0.1]).verdict()
    assert "Random rows win" in result_of([-0.05, -0.1]).verdict()
    assert "Significantly worse than random rows: strategy 0." in result_of([-0.05, 0.1]).verdict()
    assert "nothing is compared" in result_of([]).verdict()
    alone = curves_of(_scores(0.0), np.full(201, 0.9))
    assert alone["margin"].outcome is Outcome.NONE

"""A threshold is chosen on other rows than it is judged on, and what it saves is claimed only beyond chance."""

from __future__ import annotations

import numpy as np
import pytest
from audited import audit_input
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.json import to_json
from polysense.evaluation.audit.thresholds import RATIOS, best_threshold, measure_thresholds
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

FLAG = ClassificationTarget(name="y", columns=("y",), classes=("no", "yes"), class_counts=(5, 5))
SCORES = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.5001, 1.0]) | st.floats(0, 1), st.booleans()), min_size=1)


def flags(num_rows: int, seed: int = 0, shift: float = 0.0, share: float = 0.5) -> dict[str, np.ndarray]:
    """Calibrated probabilities, but for a shift of their logit."""
    draws = np.random.default_rng(seed)
    logit = 1.5 * draws.normal(size=num_rows) + np.log(share / (1 - share))
    truth = (draws.random(num_rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    yes = 1 / (1 + np.exp(-logit - shift))
    probabilities = np.column_stack([1 - yes, yes]).astype(np.float32)
    present = np.ones(num_rows, dtype=bool)
    return {
        "present": present,
        "truth": truth,
        "predicted": (yes > 0.5).astype(np.int64),
        "probabilities": probabilities,
    }


@given(SCORES, st.sampled_from(RATIOS))
def test_no_other_threshold_costs_less(rows: list[tuple[float, bool]], ratio: float) -> None:
    scores, truth = np.array([score for score, _ in rows]), np.array([hit for _, hit in rows])

    def cost(threshold: float) -> float:
        called = scores >= threshold
        return ratio * int((truth & ~called).sum()) + int((~truth & called).sum())

    best = best_threshold(scores, truth, ratio)
    others = [0.0, 2.0, *scores, *(scores + 1e-9)]
    assert cost(best) <= min(map(cost, others)) + 1e-9


def test_probabilities_that_are_too_low_need_a_lower_threshold() -> None:
    part = measure_thresholds(audit_input(FLAG, flags(600, 1, shift=-2.0), calibration=flags(600, 2, shift=-2.0)))
    assert part is not None
    (sentence,) = part.findings()
    assert "chosen on 600 validation rows" in sentence
    best = {each.ratio: each for each in part.costs}
    assert best[5.0].threshold < 0.15
    assert best[5.0].saving.low > 0
    assert best[5.0].cost < best[5.0].cost_at_half
    to_json(part.record())


def test_folds_choose_where_no_rows_are_apart() -> None:
    part = measure_thresholds(audit_input(FLAG, flags(600, 1, shift=-2.0)))
    assert part is not None
    assert part.chosen_on == "the other nine tenths of the rows"
    assert {each.ratio: each.saving.low > 0 for each in part.costs}[5.0]


def test_at_equal_costs_calibrated_probabilities_are_rarely_beaten() -> None:
    claimed = 0
    for seed in range(30):
        part = measure_thresholds(audit_input(FLAG, flags(200, seed), seed=seed))
        assert part is not None
        claimed += next(each for each in part.costs if each.ratio == 1).saving.low > 0
    assert claimed <= 1


def test_points_of_the_curve_are_what_they_say() -> None:
    statistics = flags(200)
    part = measure_thresholds(audit_input(FLAG, statistics))
    assert part is not None
    for point in part.listed:
        called = statistics["probabilities"][:, 1].astype(float) >= point.threshold
        assert point.recall == pytest.approx(called[statistics["truth"] == 1].mean())
        assert point.false_alarms == pytest.approx(called[statistics["truth"] == 0].mean())
    recalls = [point.recall for point in part.curve]
    assert recalls == sorted(recalls)
    assert (recalls[0], recalls[-1]) == (0.0, 1.0)


def test_few_rows_and_other_targets_have_none() -> None:
    part = measure_thresholds(audit_input(FLAG, flags(12)))
    assert part is not None
    assert part.findings()[0].endswith("10 of each are needed.")
    three = ClassificationTarget(name="y", columns=("y",), classes=("a", "b", "c"), class_counts=(5, 5, 5))
    statistics = flags(50) | {"probabilities": np.full((50, 3), 1 / 3, dtype=np.float32)}
    assert measure_thresholds(audit_input(three, statistics)) is None
    price = RegressionTarget(name="y", columns=("y",), mean=(0.0,), std=(1.0,))
    assert measure_thresholds(audit_input(price, {"present": np.ones(3, dtype=bool)})) is None

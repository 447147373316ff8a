"""Every metric by a column's values: a group that is worse is named, and groups that differ by chance are not."""

from __future__ import annotations

import numpy as np
import pytest
from audited import audit_input

from polysense.core.json import to_json
from polysense.errors import TableError
from polysense.evaluation.audit.groups import MISSING, measure_groups
from polysense.evaluation.evaluator import score
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

LABEL = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(5, 5))


def judged(share: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows that are right with the given probabilities."""
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, 2, len(share))
    predicted = np.where(draws.random(len(share)) < share, truth, 1 - truth)
    probabilities = np.eye(2, dtype=np.float32)[predicted] * 0.6 + 0.2
    return {
        "present": np.ones(len(share), dtype=bool),
        "truth": truth,
        "predicted": predicted,
        "probabilities": probabilities,
    }


def test_a_group_that_is_worse_is_named_with_its_gap() -> None:
    site = np.random.default_rng(1).choice(["north", "south", "west"], 400)
    statistics = judged(np.where(site == "west", 0.5, 0.9))
    part = measure_groups(audit_input(LABEL, statistics, {"site": site.tolist()}), "site")
    assert part.worst == "west"
    assert part.num_pairs == 3
    assert part.gap is not None
    assert 0.1 < part.gap.low < part.gap.value < part.gap.high
    (sentence,) = part.findings()
    assert sentence.startswith("site: accuracy is worst for west (")
    assert "corrected for 3 pairs" in sentence
    to_json(part.record())


def test_each_groups_metrics_are_those_of_its_rows_alone() -> None:
    site = np.random.default_rng(1).choice(["north", "south"], 100)
    statistics = judged(np.full(100, 0.7))
    statistics["present"][:7] = False
    part = measure_groups(audit_input(LABEL, statistics, {"site": site.tolist()}), "site")
    for group in part.groups:
        rows = np.flatnonzero(site == group.value)
        alone = {name: values[rows] for name, values in statistics.items()}
        own = score((LABEL,), np.arange(len(rows)), {"y": alone}, bootstrap=0)
        assert group.num == own.num_counted("y")
        for name, value in own.metrics["y"].items():
            assert group.metrics[name].value == pytest.approx(value.value), name


def test_groups_that_differ_by_chance_are_rarely_told_apart() -> None:
    claimed = 0
    for seed in range(40):
        site = np.random.default_rng(seed).integers(0, 6, 240).astype(str)
        part = measure_groups(audit_input(LABEL, judged(np.full(240, 0.8), seed), {"site": site.tolist()}), "site")
        assert part.gap is not None
        claimed += part.gap.low > 0
        assert "no group is measurably worse" in part.findings()[0] or part.gap.low > 0
    assert claimed <= 5  # 2 are expected at most


def test_small_groups_say_so_and_missing_cells_are_a_group() -> None:
    site = ["north"] * 30 + [None] * 30 + ["west"] * 5
    part = measure_groups(audit_input(LABEL, judged(np.full(65, 0.8)), {"site": site, "k": ["x"] * 65}), "site")
    assert {group.value: bool(group.metrics) for group in part.groups} == {"north": True, MISSING: True, "west": False}
    assert "Groups of fewer than 20 rows are not scored: west (5)." in part.findings()[0]
    alone = measure_groups(audit_input(LABEL, judged(np.full(65, 0.8)), {"site": ["x"] * 65}), "site")
    assert alone.gap is None
    assert alone.findings() == ["site is x in every row, so nothing is compared."]
    few = measure_groups(audit_input(LABEL, judged(np.full(8, 0.8)), {"site": ["x", "z"] * 4}), "site")
    assert few.findings()[0].startswith("site: fewer than two groups have 20 rows")


def test_many_groups_are_cut_and_many_numbers_are_quarters() -> None:
    statistics = judged(np.full(300, 0.8))
    table = {"age": [float(i) for i in range(300)], "name": [f"n{i % 50}" for i in range(300)]}
    quarters = measure_groups(audit_input(LABEL, statistics, table), "age")
    assert [group.num for group in quarters.groups] == [75] * 4
    many = measure_groups(audit_input(LABEL, statistics, table), "name")
    assert len(many.groups) == 20
    assert many.num_left_out == 30


def test_a_lower_error_is_better_and_no_resamples_give_values_only() -> None:
    price = RegressionTarget(name="y", columns=("y",), mean=(0.0,), std=(1.0,))
    draws = np.random.default_rng(0)
    truth = draws.normal(size=(200, 1)).astype(np.float32)
    site = draws.choice(["x", "z"], 200)
    noise = draws.normal(size=(200, 1)) * np.where(site == "z", 2.0, 0.1)[:, None]
    statistics = {"present": np.ones(200, dtype=bool), "truth": truth, "predicted": (truth + noise).astype(np.float32)}
    part = measure_groups(audit_input(price, statistics, {"site": site.tolist()}, bootstrap=0), "site")
    assert (part.best, part.worst) == ("x", "z")
    assert part.gap is not None
    assert not part.gap.has_bounds
    assert part.findings()[0].startswith("site: r2 is worst for z (")


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(TableError, match="no column to group by 'sit'"):
        measure_groups(audit_input(LABEL, judged(np.full(30, 0.8)), {"site": ["x"] * 30}), "sit")


def test_a_group_that_is_right_throughout_may_be_wrong_elsewhere() -> None:
    correct = np.array([1.0] * 22 + [1.0] * 20 + [0.0] * 2)
    statistics = judged(np.ones(44))
    statistics["predicted"] = np.where(correct > 0, statistics["truth"], 1 - statistics["truth"])
    part = measure_groups(audit_input(LABEL, statistics, {"site": ["x"] * 22 + ["z"] * 22}), "site")
    assert part.gap is not None
    assert part.gap.low < 0 < part.gap.value
    alike = measure_groups(audit_input(LABEL, judged(np.ones(60)), {"site": ["x", "z"] * 30}), "site")
    assert alike.findings() == ["site: accuracy is the same in every group that is scored, 1.000."]

"""No row is judged by a model that saw it, no group is in two folds, and too many folds are refused by what is few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.errors import ConfigError, SplitError
from polysense.training.time_plan import Deadline
from polysense.workflows.folds.models import folds_that_fit, trained_plan
from polysense.workflows.folds.plan import FoldPlan, plan_folds
from polysense.workflows.prepare import prepare


def planned(rows: list[dict[str, Any]], folds: int, *overrides: str, **options: Any) -> FoldPlan:
    prepared = prepare(
        rows, target="label", overrides=[f"evaluation.folds={folds}", *overrides], preset="fast", logs=False, **options
    )
    return plan_folds(prepared.recipe, prepared.table)


def table(num_rows: int, num_groups: int, num_classes: int, seed: int, missing: float = 0.0) -> list[dict[str, Any]]:
    """Every class in as many rows and groups as there can be; some labels missing."""
    draws = np.random.default_rng(seed)
    return [
        {
            "x": float(draws.random()),
            "family": f"g{i // num_classes % num_groups}",
            "label": None if draws.random() < missing else f"c{i % num_classes}",
        }
        for i in range(num_rows)
    ]


@given(
    num_rows=st.integers(40, 90),
    num_groups=st.integers(6, 12),
    num_classes=st.integers(2, 3),
    folds=st.integers(2, 4),
    seed=st.integers(0, 100),
    split=st.sampled_from(["fraction", "group"]),
    missing=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=25)
def test_every_row_is_judged_once_by_a_model_that_did_not_see_it(
    num_rows: int, num_groups: int, num_classes: int, folds: int, seed: int, split: str, missing: float
) -> None:
    rows = table(num_rows, num_groups, num_classes, seed, missing)
    config = "{type: fraction}" if split == "fraction" else "{type: group, column: family}"
    overrides = (f"data.split={config}", f"training.seed={seed}")
    plan = planned(rows, folds, *overrides)
    judged = np.concatenate([plan.judged(fold) for fold in range(folds)])
    assert sorted(judged.tolist()) == list(range(num_rows))
    again = planned(rows, folds, *overrides)
    assert np.array_equal(plan.fold_of, again.fold_of)
    for fold in range(folds):
        assert np.array_equal(plan.chooses[fold], again.chooses[fold])
        tables = plan.tables(fold)
        parts = {name: set(part.rows.tolist()) for name, part in tables.items()}
        assert parts["test"].isdisjoint(parts["train"] | parts["validation"])
        assert parts["train"].isdisjoint(parts["validation"])
        assert len(parts["train"] | parts["validation"] | parts["test"]) == num_rows
        assert len(parts["validation"]) > 0
        if split == "group":
            groups = [set(part.cells("family")) for part in tables.values()]
            assert sum(map(len, groups)) == len(set.union(*groups))
        else:
            labels = [row["label"] for row in rows]
            for name in {label for label in labels if label}:
                share = labels.count(name) / folds
                assert abs(sum(cell == name for cell in tables["test"].cells("label")) - share) < 1


def test_more_folds_than_rows_or_groups_of_a_class_are_refused() -> None:
    rows = table(40, 8, 2, 0)
    rare = [*rows, *({"x": 0.5, "family": f"g{i}", "label": "rare"} for i in range(3))]
    fraction, group = "data.split={type: fraction}", "data.split={type: group, column: family}"
    with pytest.raises(SplitError, match=r"class 'rare' is in 3 rows, too few for 5 folds.*at most evaluation.folds=3"):
        planned(rare, 5, fraction)
    assert planned(rare, 3, fraction).num_folds == 3
    with pytest.raises(SplitError, match=r"8 groups \(column 'family'\) can't be divided into 9 folds"):
        planned(rows, 9, group)
    one_group = [*rows, *({"x": 0.5, "family": "g1", "label": "rare"} for _ in range(9))]
    with pytest.raises(SplitError, match=r"class 'rare' is in 1 groups.*merge it with another class"):
        planned(one_group, 2, group)
    with pytest.raises(SplitError, match="40 rows can't be divided into 41 folds"):
        planned(rows, 41, fraction)
    with pytest.raises(ConfigError, match="one fold leaves no rows to train on"):
        planned(rows, 1)


def test_a_given_test_stays_apart_and_a_drawn_one_is_judged_too() -> None:
    rows = table(60, 6, 2, 1)
    named = [{**row, "part": "test" if i % 4 == 0 else "dev" if i % 4 == 1 else "train"} for i, row in enumerate(rows)]
    plan = planned(named, 3, columns={"part": "split"})
    assert plan.test is not None
    assert set(plan.test.cells("part")) == {"test"}
    assert set(plan.rows.cells("part")) == {"train", "dev"}
    assert len(plan.rows) + len(plan.test) == 60
    for fold in range(3):  # a third of them was named for validation, so a third chooses within a fold
        assert abs(plan.chooses[fold].sum() - 10) <= 1
    assert (plan.split.assign(plan.rows, None, 0) == 0).all()
    drawn = planned(rows, 3, "data.split={type: fraction, validation: 0.1, test: 0.3}")
    assert drawn.test is None
    assert len(drawn.rows) == 60


def test_folds_that_there_was_no_time_for_judge_nothing_and_train_all_the_same(tmp_path: Path) -> None:
    plan = planned(table(60, 6, 2, 1), 4, "training.time=10m")
    short = plan.shortened(2)
    judged = np.concatenate([plan.judged(0), plan.judged(1)])
    assert sorted(judged.tolist()) == short.judged_rows.tolist()
    assert short.num_folds == 2
    for fold in range(2):
        assert np.array_equal(short.trains(fold), plan.trains(fold))
        assert np.array_equal(short.judged(fold), plan.judged(fold))
    prepared = prepare(table(60, 6, 2, 1), target="label", overrides=["training.time=10m"], logs=False)
    assert trained_plan(plan, prepared.recipe, tmp_path) is plan
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "shortened.json").write_text('{"folds": 2, "time": 600.0}', encoding="utf-8")
    assert trained_plan(plan, prepared.recipe, tmp_path).num_folds == 2
    more = prepare(table(60, 6, 2, 1), target="label", overrides=["training.time=20m"], logs=False)
    assert trained_plan(plan, more.recipe, tmp_path) is plan, "with more time, all are trained"


@pytest.mark.parametrize(("left", "expected"), [(100.0, 5), (50.0, 5), (49.0, 4), (25.0, 2), (15.0, 1), (0.0, 1)])
def test_as_many_folds_as_fit_beside_the_delivered_model(tmp_path: Path, left: float, expected: int) -> None:
    """A fold takes 10 s beside its epochs, which may be as few as there is time for."""
    (tmp_path / "bundle").mkdir()
    info = '{"info": {"wall_seconds": 30.0, "seconds": 20.0}}'
    (tmp_path / "bundle" / "bundle.json").write_text(info, encoding="utf-8")
    assert folds_that_fit(tmp_path, Deadline(left, lambda: 0.0), 1, 5) == expected


def test_a_target_that_is_the_inputs_is_refused() -> None:
    prepared = prepare(table(40, 8, 2, 0), task="reconstruction", overrides=["evaluation.folds=2"], logs=False)
    with pytest.raises(ConfigError, match=r"evaluation.folds: target .* is the input columns themselves"):
        plan_folds(prepared.recipe, prepared.table)

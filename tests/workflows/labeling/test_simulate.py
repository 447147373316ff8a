from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polysense.errors import ConfigError, UserError
from polysense.workflows.labeling.simulate import Simulation, label_numbers, simulate_labeling


def table(num: int = 90, **more: list[object]) -> dict[str, list[object]]:
    """Two rare and one frequent class in the plane, speakers, and a number."""
    generator = np.random.default_rng(0)
    which = generator.choice(3, num, p=[0.7, 0.15, 0.15])
    position = 4.0 * np.array([[0, 0], [1, 0], [0, 1]])[which] + generator.normal(size=(num, 2))
    return {
        "x": position[:, 0].tolist(),
        "y": position[:, 1].tolist(),
        "label": [f"class {k}" for k in which],
        "speaker": [f"s{k}" for k in generator.integers(0, 12, num)],
        "level": (3 * position[:, 0] - position[:, 1]).tolist(),
        **more,
    }


@pytest.fixture(scope="module")
def simulated() -> Simulation:
    done: list[tuple[int, int]] = []
    result = simulate_labeling(
        table(), target="label", strategies=["margin", "typical"], seeds=2, numbers=[6, 12],
        inputs=["x", "y"], progress=lambda *each: done.append(each),
    )  # fmt: skip
    assert done == [(k, 12) for k in range(1, 13)]
    return result


def test_every_strategy_has_a_curve_beside_random_rows(simulated: Simulation) -> None:
    measured = simulated.measured
    assert [curve.strategy for curve in measured.curves] == ["random", "margin", "typical"]
    assert measured.metric.name == "accuracy"
    assert measured.split == "validation"
    assert measured.notes == ("there is no test split: scored on the validation rows",)
    assert measured.num_pool + measured.num_tested == 90
    assert all(len(curve.by_seed) == 2 and len(curve.scores) == 2 for curve in measured.curves)
    assert measured.full.value > 0.8


def test_it_is_the_same_again_whatever_else_is_tried(simulated: Simulation) -> None:
    again = simulate_labeling(
        table(), target="label", strategies=["typical"], seeds=2, numbers=[6, 12],
        inputs=["x", "y"],
    )  # fmt: skip
    assert again.measured.curves[1].by_seed == simulated.measured.curves[2].by_seed


def test_what_is_shown_fits_a_terminal_and_what_is_written_is_strict_json(
    simulated: Simulation, tmp_path: Path
) -> None:
    text = simulated.text()
    assert max(map(len, text.splitlines()[:9])) <= 80
    assert "labels for 90%" in text
    page, figures = simulated.write(tmp_path / "out")
    assert page.read_text(encoding="utf-8").count("<svg") == 2
    written = json.loads(figures.read_text(encoding="utf-8"))
    assert list(written["curves"]) == ["random", "margin", "typical"]
    assert written["metric"] == "accuracy"
    assert simulated.write(tmp_path / "one.json") == [tmp_path / "one.json"]


def test_groups_never_straddle_and_are_resampled_whole() -> None:
    result = simulate_labeling(
        table(), target="label", strategies=[], seeds=2, numbers=[10], columns={"level": "ignored"},
        overrides=["data.split={type: group, column: speaker}"],
    )  # fmt: skip
    assert result.measured.num_groups is not None
    assert 1 <= result.measured.num_groups < 12
    assert "in " + str(result.measured.num_groups) + " groups" in result.text()


def test_numbers_are_labeled_by_strategies_that_need_no_probabilities() -> None:
    result = simulate_labeling(table(), target="level", seeds=2, numbers=[8, 30], inputs=["x", "y"])
    assert [curve.strategy for curve in result.measured.curves] == ["random", "k_center", "typical"]
    assert result.measured.metric.name == "r2"
    assert result.measured.full.value > 0.9
    with pytest.raises(ConfigError, match="'margin' needs probabilities"):
        simulate_labeling(table(), target="level", strategies=["margin"], seeds=2, numbers=[8])


def test_rows_without_a_label_or_without_columns_are_left_out_and_counted() -> None:
    rows = table()
    rows["label"][:9] = [None] * 9
    rows["x"][9] = rows["y"][9] = None
    result = simulate_labeling(rows, target="label", strategies=[], seeds=2, numbers=[10], inputs=["x", "y"])
    assert result.measured.num_pool + result.measured.num_tested == 80
    assert sum("lack a label or all columns" in note for note in result.measured.notes) >= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ["z"]}, "z"),
        ({"seeds": 1}, "seeds: expected at least 2"),
        ({"strategies": ["margn"]}, "did you mean 'margin'"),
        ({"numbers": [0, 5]}, "found 0, 5, expected numbers from 1"),
        ({"numbers": [1000]}, "expected numbers from 1"),
        ({"target": ["label", "level"]}, "needs one target; found label, level"),
        ({"overrides": ["data.split.test=0", "data.split.validation=0"]}, "leaves neither test nor validation rows"),
    ],
)
def test_what_can_not_be_simulated_says_why(changes: dict[str, object], message: str) -> None:
    given = {"target": "label", "seeds": 2, "numbers": [10], "strategies": []} | changes
    with pytest.raises(UserError, match=message):
        simulate_labeling(table(), **given)  # type: ignore[arg-type]


def test_one_label_alone_is_refused() -> None:
    with pytest.raises(UserError, match="has the same value"):
        simulate_labeling(table() | {"label": ["a"] * 90}, target="label", seeds=2)


def test_numbers_of_labels_grow_by_half_up_to_half_the_rows() -> None:
    assert label_numbers(100) == [10, 15, 22, 33, 50]
    assert label_numbers(100_000, 81)[0] == 81
    assert label_numbers(100_000, 81)[-1] == 1_000
    assert label_numbers(3) == [2]

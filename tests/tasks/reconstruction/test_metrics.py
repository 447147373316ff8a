"""Errors beside the mean predictor's: skill is what is left of it, over the rows that know a column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.evaluation.baselines import constant_baseline
from polysense.evaluation.evaluator import Evaluation, evaluate
from polysense.evaluation.target_metrics import headline_metric, metrics_of, selection_metric
from polysense.reports.report import Report, render_report
from polysense.tasks.reconstruction.metrics import ReconstructionScorer
from polysense.tasks.reconstruction.record import ReconstructionTarget
from polysense.tasks.reconstruction.spec import SPEC

NAN = float("nan")
TARGET = ReconstructionTarget(name="r", columns=("a", "b"), members=("a", "b"), num_rows=3)
STATISTICS = {
    "present": np.ones(3, dtype=bool),
    "codes": np.zeros((3, 1)),
    "errors": np.array([[0.5, 1.0], [1.5, NAN], [1.0, 3.0]]),
    "hits": np.array([[NAN, 1.0], [NAN, NAN], [NAN, 0.5]]),
    "imputed_errors": np.array([[2.0, 2.0], [NAN, NAN], [2.0, 2.0]]),
    "imputed_hits": np.array([[NAN, 0.0], [NAN, NAN], [NAN, 0.5]]),
    "mean_errors": np.array([[2.0, 4.0], [1.0, NAN], [2.0, 4.0]]),
    "mean_hits": np.array([[NAN, 0.5], [NAN, NAN], [NAN, 0.5]]),
}


def measured(
    weights: np.ndarray | None = None, rows: list[int] | None = None, **more: np.ndarray
) -> dict[str, np.ndarray]:
    """Every metric of some of the rows, by default of all of them once."""
    chosen = {name: values[rows or [0, 1, 2]] for name, values in {**STATISTICS, **more}.items()}
    return ReconstructionScorer(TARGET, chosen)(np.ones((1, 3)) if weights is None else weights)


def test_every_metric_by_hand() -> None:
    found = measured()
    assert {info.name for info in metrics_of(TARGET)} == set(found)
    expected = {
        "error/a": 1.0, "skill/a": 1 - 3 / 5, "imputed_error/a": 2.0, "imputed_skill/a": 0.0,
        "error/b": 2.0, "skill/b": 0.5, "imputed_error/b": 2.0, "imputed_skill/b": 0.5,
        "accuracy/b": 0.75, "imputed_accuracy/b": 0.25, "accuracy": 0.75, "imputed_accuracy": 0.25,
        "skill": 0.45, "imputed_skill": 0.25,
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value), name
    assert np.isnan(found["accuracy/a"][0])


def test_the_rank_of_the_codes_is_about_their_mean_and_of_all_rows_together() -> None:
    draws = np.random.default_rng(0).standard_normal((3, 1))
    for directions, expected in ((np.array([[1.0, 2.0, 0.0]]), 1.0), (np.zeros((1, 3)), 1.0)):
        codes = 50.0 + draws @ directions  # far from 0: the mean is no direction
        found = measured(np.array([[1.0, 1, 1], [2, 0, 1]]), codes=codes.astype(np.float32))
        assert found["effective_rank"][0] == pytest.approx(expected, abs=1e-3)
        assert np.isnan(found["effective_rank"][1])
    corners = np.array([[1.0, 0], [-0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]])  # as wide along both
    assert measured(codes=corners)["effective_rank"][0] == pytest.approx(2.0)


def test_a_resample_is_its_rows_again() -> None:
    weights = np.array([[2.0, 0.0, 1.0]])
    again = measured(rows=[0, 0, 2])
    for name, values in measured(weights).items():
        if name == "effective_rank":
            continue  # which is of all rows together
        assert values[0] == pytest.approx(again[name][0], nan_ok=True), name


def test_the_mean_predictor_has_no_skill_whatever_is_hidden() -> None:
    found = ReconstructionScorer(TARGET, SPEC.baselines(TARGET)["mean baseline"](STATISTICS))(np.ones((1, 3)))
    for name in ("skill", "imputed_skill", "skill/a", "imputed_skill/b"):
        assert found[name][0] == pytest.approx(0.0)
    assert found["accuracy/b"][0] == pytest.approx(0.5)


def test_a_column_whose_mean_makes_no_error_has_no_skill() -> None:
    unknown = dict.fromkeys(STATISTICS, np.full((2, 2), NAN))
    constant = {**unknown, "present": np.ones(2, dtype=bool), "codes": np.zeros((2, 1)), "errors": np.zeros((2, 2))}
    found = ReconstructionScorer(TARGET, constant)(np.ones((1, 2)))
    assert np.isnan(found["skill"][0])
    assert found["error/a"][0] == 0.0


def _measures(rows: list[int], *, imputed: str = "") -> dict[str, torch.Tensor]:
    """What the head measures of some rows; of a masked column the errors that imputing it makes."""
    names = dict.fromkeys(("mean_errors", "mean_hits")) | {"errors": imputed, "hits": imputed}
    names = {name: f"{prefix or ''}{name}" for name, prefix in names.items()}
    return {name: torch.tensor(STATISTICS[key][rows], dtype=torch.float32) for name, key in names.items()}


def _evaluation(*, with_masks: bool) -> Evaluation:
    there = ColumnBatch(values=torch.zeros(4, 1, 1), lengths=torch.tensor([[1], [0], [1], [0]]))
    batch = Batch(
        rows=torch.tensor([4, -1, 2, 9]),
        columns={"a": there, "b": there},
        truths={"r": ValueTruth(values=torch.ones(4, 2), present=torch.tensor([True, False, True, True]))},
    )
    # In the order of the batch: the table's rows 4, 2 and 9 are the first, third and second of STATISTICS.
    rows = [0, 0, 2, 1]
    masked = {"values": torch.zeros(4, 3), **_measures(rows, imputed="imputed_")}
    return evaluate(
        lambda _: {"r": {"values": torch.zeros(4, 3), "column_0": torch.zeros(4), **_measures(rows)}},
        [batch],
        [TARGET],
        bootstrap=50,
        masked=(lambda _, groups: [{"r": masked} for _ in groups]) if with_masks else None,
    )


def test_an_evaluation_keeps_errors_in_the_tables_order_and_no_columns() -> None:
    found = _evaluation(with_masks=True)
    assert found.rows.tolist() == [2, 4, 9]
    assert found.statistics["r"]["errors"][:, 0].tolist() == [1.0, 0.5, 1.5]
    assert "a" not in found.statistics["r"]
    assert found.value("r", "skill") == pytest.approx(0.45)
    assert found.value("r", "imputed_skill") == pytest.approx(0.25)
    assert found.metrics["r"]["skill/a"].has_bounds
    mean = constant_baseline(found, bootstrap=0)
    assert mean.value("r", "skill") == pytest.approx(0.0)
    assert mean.value("r", "error/b") == pytest.approx(4.0)
    page = render_report(Report(title="run", num_columns=2, evaluation=found, comparisons={"constant": mean}))
    assert "Reconstruction by column" in page
    assert "majority-class baseline" in page


def test_without_masked_columns_nothing_is_known_of_imputing() -> None:
    found = _evaluation(with_masks=False)
    assert found.value("r", "skill") == pytest.approx(0.45)
    assert np.isnan(found.value("r", "imputed_skill"))
    assert "both the column and another one" in found.undefined["r"]["imputed_skill"]


@given(st.integers(0, 100))
def test_every_column_is_masked_once_and_few_at_a_time(number: int) -> None:
    names = tuple(f"c{i}" for i in range(number))
    groups = SPEC.masked_groups(ReconstructionTarget(name="r", columns=names, members=names))
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert len(groups) == min(8, number)
    if number:
        sizes = [len(group) for group in groups]
        assert max(sizes) - min(sizes) <= 1


def test_headlines() -> None:
    assert headline_metric(TARGET).name == selection_metric(TARGET).name == "skill"

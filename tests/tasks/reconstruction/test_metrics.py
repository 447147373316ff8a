"""Errors beside the mean predictor's: skill is what is left of it, over the rows that know a column."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polysense.core.batch import Batch, TargetBatch
from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.evaluation.baselines import constant_baseline
from polysense.evaluation.evaluator import Evaluation, evaluate
from polysense.evaluation.metrics.compute import metrics_of, primary_metric, selection_metric
from polysense.reports.report import Report, render_report
from polysense.tasks.reconstruction.metrics import ReconstructionScorer
from polysense.tasks.reconstruction.reconstructions import Reconstructions

NAN = float("nan")
TARGET = Target(name="r", task=Task.RECONSTRUCTION, columns=("a", "b"), members=("a", "b"), num_rows=3)
FOUND = Reconstructions(
    errors=np.array([[0.5, 1.0], [1.5, NAN], [1.0, 3.0]]),
    hits=np.array([[NAN, 1.0], [NAN, NAN], [NAN, 0.5]]),
    filled_errors=np.array([[2.0, 2.0], [NAN, NAN], [2.0, 2.0]]),
    filled_hits=np.array([[NAN, 0.0], [NAN, NAN], [NAN, 0.5]]),
    mean_errors=np.array([[2.0, 4.0], [1.0, NAN], [2.0, 4.0]]),
    mean_hits=np.array([[NAN, 0.5], [NAN, NAN], [NAN, 0.5]]),
)


def test_every_metric_by_hand() -> None:
    found = ReconstructionScorer(TARGET, FOUND)(np.ones((1, 3)))
    assert {info.name for info in metrics_of(TARGET)} == set(found)
    expected = {
        "error/a": 1.0, "skill/a": 1 - 3 / 5, "filled_error/a": 2.0, "filled_skill/a": 0.0,
        "error/b": 2.0, "skill/b": 0.5, "filled_error/b": 2.0, "filled_skill/b": 0.5,
        "accuracy/b": 0.75, "filled_accuracy/b": 0.25, "accuracy": 0.75, "filled_accuracy": 0.25,
        "skill": 0.45, "filled_skill": 0.25,
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value), name
    assert np.isnan(found["accuracy/a"][0])


def test_the_rank_of_the_codes_is_about_their_mean_and_of_all_rows_together() -> None:
    draws = np.random.default_rng(0).standard_normal((3, 1))
    for directions, expected in ((np.array([[1.0, 2.0, 0.0]]), 1.0), (np.zeros((1, 3)), 1.0)):
        codes = 50.0 + draws @ directions  # far from 0: the mean is no direction
        found = ReconstructionScorer(TARGET, FOUND, codes.astype(np.float32))(np.array([[1.0, 1, 1], [2, 0, 1]]))
        assert found["effective_rank"][0] == pytest.approx(expected, abs=1e-3)
        assert np.isnan(found["effective_rank"][1])
    corners = np.array([[1.0, 0], [-0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]])  # as wide along both
    assert ReconstructionScorer(TARGET, FOUND, corners)(np.ones((1, 3)))["effective_rank"][0] == pytest.approx(2.0)
    assert np.isnan(ReconstructionScorer(TARGET, FOUND)(np.ones((1, 3)))["effective_rank"][0])


def test_a_resample_is_its_rows_again() -> None:
    weights = np.array([[2.0, 0.0, 1.0]])
    again = ReconstructionScorer(TARGET, FOUND[np.array([0, 0, 2])])(np.ones((1, 3)))
    for name, values in ReconstructionScorer(TARGET, FOUND)(weights).items():
        assert values[0] == pytest.approx(again[name][0], nan_ok=True), name


def test_the_mean_predictor_has_no_skill_whatever_is_hidden() -> None:
    found = ReconstructionScorer(TARGET, FOUND.by_mean)(np.ones((1, 3)))
    for name in ("skill", "filled_skill", "skill/a", "filled_skill/b"):
        assert found[name][0] == pytest.approx(0.0)
    assert found["accuracy/b"][0] == pytest.approx(0.5)


def test_a_column_whose_mean_makes_no_error_has_no_skill() -> None:
    constant = Reconstructions.of_errors(np.zeros((2, 2)))
    found = ReconstructionScorer(TARGET, constant)(np.ones((1, 2)))
    assert np.isnan(found["skill"][0])
    assert found["error/a"][0] == 0.0


def _evaluation(*, with_source: bool) -> Evaluation:
    batch = Batch(
        rows=torch.tensor([4, -1, 2, 9]),
        columns={},
        targets={"r": TargetBatch(values=torch.ones(4, 2), present=torch.tensor([True, False, True, True]))},
    )
    # In the order of the batch: the table's rows 4, 2 and 9 are the first, third and second of FOUND.
    padded = FOUND[np.array([0, 0, 2, 1])]
    prediction = Prediction(
        torch.zeros(4, 3), columns={"a": torch.zeros(4)}, errors=torch.tensor(padded.errors, dtype=torch.float32)
    )
    return evaluate(
        lambda _: {"r": prediction},
        [batch],
        [TARGET],
        bootstrap=50,
        restored={"r": lambda _, __: padded} if with_source else None,
    )


def test_an_evaluation_keeps_errors_in_the_tables_order_and_no_columns() -> None:
    found = _evaluation(with_source=True)
    assert found.rows.tolist() == [2, 4, 9]
    assert found.restored["r"].errors[:, 0].tolist() == [1.0, 0.5, 1.5]
    assert found.predictions["r"].columns == {}
    assert found.value("r", "skill") == pytest.approx(0.45)
    assert found.metrics["r"]["skill/a"].has_bounds
    majority = constant_baseline(found, bootstrap=0)
    assert majority.value("r", "skill") == pytest.approx(0.0)
    assert majority.value("r", "error/b") == pytest.approx(4.0)
    page = render_report(Report(title="run", evaluation=found, comparisons={"majority": majority}))
    assert "Reconstruction by column" in page
    assert "majority-class baseline" in page


def test_errors_alone_are_measured_without_a_source() -> None:
    found = _evaluation(with_source=False)
    assert found.value("r", "error/a") == pytest.approx(1.0)
    assert np.isnan(found.value("r", "skill"))
    assert "not known" in found.undefined["r"]["skill"]


def test_headlines() -> None:
    assert primary_metric(TARGET).name == selection_metric(TARGET).name == "skill"

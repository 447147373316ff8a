"""What temperatures do is measured from the probabilities that they made."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch
from html_page import Page
from torchmetrics.functional.classification import multiclass_calibration_error

from polysense.core.json import to_json
from polysense.evaluation.audit.temperatures import (
    SubsetJudgments,
    Temperatures,
    calibration_error,
    measure_temperatures,
    retempered,
)
from polysense.reports.environment import render_section

DRAWS = np.random.default_rng(0)
LOGITS = 2 * DRAWS.normal(size=(800, 3))


def test_a_power_undoes_a_temperature() -> None:
    cooled = scipy.special.softmax(LOGITS / 2.5, axis=1)
    np.testing.assert_allclose(retempered(cooled, 2.5), scipy.special.softmax(LOGITS, axis=1), atol=1e-12)
    certain = retempered(np.array([[1.0, 0.0]]), 3.0)
    assert np.isfinite(certain).all()
    assert certain[0, 0] == pytest.approx(1)


def test_the_calibration_error_is_that_of_a_reference() -> None:
    probabilities, truth = scipy.special.softmax(LOGITS, axis=1), DRAWS.integers(0, 3, 800)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(truth), num_classes=3, n_bins=15
    )
    assert calibration_error(probabilities, truth) == pytest.approx(float(expected), abs=1e-6)


def judgments(columns: tuple[str, ...], factor: float, temperature: float) -> SubsetJudgments:
    """Rows whose classes are drawn by their softmax, while the model's logits are a factor of the true ones."""
    truth = np.array([DRAWS.choice(3, p=row) for row in scipy.special.softmax(LOGITS, axis=1)])
    probabilities = scipy.special.softmax(factor * LOGITS / temperature, axis=1)
    return SubsetJudgments(
        columns=columns, temperature=temperature, probabilities=probabilities, truth=truth, rows=np.arange(800)
    )


def measured(*subsets: SubsetJudgments) -> Temperatures:
    return measure_temperatures(
        "y", subsets, split="test", num_rows=800, columns=("a", "b", "c"), common=1.0, bootstrap=200
    )


def test_a_temperature_that_helps_is_told_from_one_that_does_not() -> None:
    part = measured(judgments(("b",), 3.0, 3.0), judgments(("a", "b", "c"), 1.0, 1.0))
    whole, alone = part.subsets
    assert (part.named(whole), part.named(alone)) == ("all", "b")
    assert alone.error_without == alone.error_with_common > 3 * alone.error
    assert alone.loss_without > alone.loss + 0.1
    assert whole.error == pytest.approx(whole.error_without)
    assert part.gain.low > 0
    (said,) = part.findings()
    assert said.startswith("Where columns are missing, temperatures of their own lower the log loss by ")
    assert "over 1 subsets" not in said
    worse = measured(judgments(("a", "b"), 1.0, 3.0))
    assert worse.named(worse.subsets[0]) == "all but c"
    assert worse.findings()[0].startswith("Where columns are missing, temperatures of their own raise the log loss")
    same = measured(judgments(("a", "b"), 1.0, 1.0))
    assert same.findings() == []
    for each in (part, worse, same, measured(judgments(("a", "b", "c"), 1.0, 1.1))):
        Page(str(render_section(each.section())))
        to_json(each.record())


def test_only_whole_rows_have_no_gain() -> None:
    part = measured(judgments(("a", "b", "c"), 1.0, 2.0))
    assert math.isnan(part.gain.value)
    assert part.findings() == []

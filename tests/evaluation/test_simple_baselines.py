"""A model beside simple ones: values and paired differences on the same resamples, and what is said of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polysense.core.random import generator
from polysense.evaluation.evaluator import score
from polysense.evaluation.significance import Outcome
from polysense.evaluation.simple_baselines import SimpleModel, TargetBaselines, compare_with_simple
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

LABEL = ClassificationTarget(name="label", columns=("label",), classes=("a", "b"), class_counts=(5, 5), num_rows=10)


def statistics_of(right: np.ndarray, truth: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
    predicted = np.where(right, truth, 1 - truth)
    probabilities = np.eye(2)[predicted] * 0.8 + 0.1
    return {"present": present, "truth": truth, "predicted": predicted, "probabilities": probabilities}


def compare(model: np.ndarray, others: dict[str, np.ndarray], **options: Any) -> TargetBaselines:
    """Of models that are right where an array says so; the last row has no label."""
    truth = np.arange(len(model)) % 2
    present = np.ones(len(model), dtype=bool)
    present[-1] = False
    settings = {"bootstrap": 400, "seed": 3, **options}
    evaluation = score(
        (LABEL,),
        np.arange(len(model)),
        {"label": statistics_of(model, truth, present)},
        bootstrap=settings["bootstrap"],
        seed=settings["seed"],
    )
    statistics = {name: statistics_of(right, truth, present) for name, right in others.items()}
    models = [SimpleModel(name=name, columns=("x",)) for name in others]
    result = compare_with_simple(evaluation, LABEL, models, statistics, **settings)
    bounds = evaluation.metrics["label"]["accuracy"]
    np.testing.assert_equal(result.model.as_json(), bounds.as_json())
    return result


def test_differences_are_paired_row_by_row() -> None:
    draws = np.random.default_rng(0)
    model, other = draws.random(201) < 0.8, draws.random(201) < 0.7
    result = compare(model, {"linear": other})
    (found,) = result.scores
    gains = model[:-1].astype(float) - other[:-1]
    assert found.difference.value == pytest.approx(gains.mean())
    drawn = generator(3, "bootstrap").integers(0, 200, size=(400, 200))  # as every interval's rows are drawn
    low, high = np.quantile(gains[drawn].mean(axis=1), [0.025, 0.975])
    assert found.difference.low == pytest.approx(low)
    assert found.difference.high == pytest.approx(high)
    assert found.value.value == pytest.approx(other[:-1].mean())
    assert result.num_rows == 200


@pytest.mark.parametrize(
    ("model", "other", "outcome", "words"),
    [
        (0.95, 0.6, Outcome.BETTER, "the model is better than a simple baseline (linear)"),
        (0.8, 0.8, Outcome.NONE, "not measurably different"),
        (0.6, 0.95, Outcome.WORSE, "the model is worse than"),
    ],
)
def test_the_sentence_says_whether_it_is_better(model: float, other: float, outcome: Outcome, words: str) -> None:
    draws = np.random.default_rng(1)
    result = compare(draws.random(201) < model, {"linear": draws.random(201) < other})
    assert result.scores[0].outcome is outcome
    assert words in result.sentence()
    assert "chose" not in result.sentence()


def test_it_is_compared_with_the_best_one_and_says_where_the_rows_chose() -> None:
    draws = np.random.default_rng(2)
    others = {f"linear {share}": draws.random(201) < share for share in (0.5, 0.9, 0.7)}
    result = compare(draws.random(201) < 0.6, others, chose=True)
    assert result.best is not None
    assert result.best.model.name == "linear 0.9"
    assert "worse than the best of 3 simple baselines (linear 0.9)" in result.sentence()
    assert "These rows also chose the model's epoch" in result.sentence()
    plain = json.loads(json.dumps(result.as_json()))
    assert plain["best"] == "linear 0.9"
    assert plain["outcome"] == "worse"
    assert plain["baselines"][1]["difference"]["high"] < 0


def test_a_lower_error_is_better() -> None:
    target = RegressionTarget(name="price", columns=("price",), num_rows=30, mean=(0.0,), std=(1.0,))
    draws = np.random.default_rng(0)
    truth = draws.normal(size=(40, 1)).astype(np.float32)
    present = np.ones(40, dtype=bool)

    def of(noise: float) -> dict[str, np.ndarray]:
        return {"present": present, "truth": truth, "predicted": truth + noise * draws.normal(size=(40, 1))}

    evaluation = score((target,), np.arange(40), {"price": of(0.1)}, bootstrap=0)
    models = [SimpleModel(name="linear", columns=("x",))]
    result = compare_with_simple(evaluation, target, models, {"linear": of(1.0)}, bootstrap=200)
    assert result.metric.name == "r2"
    assert result.scores[0].outcome is Outcome.BETTER


@pytest.mark.parametrize("num_rows", [0, 1, 5])
def test_few_rows_give_no_claim(num_rows: int) -> None:
    right = np.ones(num_rows + 1, dtype=bool)
    result = compare(right, {"linear": ~right})
    assert [each.outcome for each in result.scores] == [Outcome.NO_CLAIM]
    assert "better" not in result.sentence()
    json.dumps(result.as_json(), allow_nan=False)


def test_without_resamples_there_are_values_and_no_claim() -> None:
    right = np.ones(31, dtype=bool)
    result = compare(right, {"linear": ~right}, bootstrap=0)
    assert result.scores[0].difference.value == 1.0
    assert result.scores[0].outcome is Outcome.NO_CLAIM
    assert "no claim can be made" in result.sentence()

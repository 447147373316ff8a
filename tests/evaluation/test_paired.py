"""Two models on the same rows: the differences are those of their scores, whatever classes each of them knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_statistics import statistics_of

from polysense.core.binomial import binomial_interval
from polysense.core.metric import Metric
from polysense.evaluation import paired
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation, score
from polysense.evaluation.paired import PairedScores, paired_scores
from polysense.evaluation.significance import Outcome
from polysense.reports.paired import paired_text
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.generation.metrics.scorer import generation_metrics

LABEL = ClassificationTarget(name="label", columns=("label",), classes=("a", "b", "c"), class_counts=(5, 4, 3))
TURNED = ClassificationTarget(name="label", columns=("label",), classes=("c", "b", "a", "d"), class_counts=(3, 4, 5, 1))


def evaluation(target: ClassificationTarget, truth: list[str], predicted: list[str]) -> Evaluation:
    """A model that says so, and is fairly sure of it; a truth that it does not know counts nowhere."""
    number = {name: index for index, name in enumerate(target.classes)}
    said = np.array([number[each] for each in predicted])
    known = np.array([number.get(each, -1) for each in truth])
    sure = np.full((len(truth), len(number)), 0.2 / (len(number) - 1))
    sure[np.arange(len(truth)), said] = 0.8
    prediction = {"values": torch.tensor(said), "probabilities": torch.tensor(sure)}
    statistics = statistics_of(target, prediction, np.maximum(known, 0))
    statistics["present"] = known >= 0
    return score([target], np.arange(len(truth)), {target.name: statistics}, bootstrap=50)


def answers(num_rows: int, share: float, seed: int, truth: list[str]) -> list[str]:
    draws = np.random.default_rng(seed)
    return [each if draws.random() < share else "abc"[draws.integers(0, 3)] for each in truth[:num_rows]]


def pair(truth: list[str], mine: list[str], theirs: list[str]) -> PairedScores:
    return paired_scores(
        evaluation(LABEL, truth, mine), evaluation(TURNED, truth, theirs), LABEL, "other", bootstrap=200
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(12, 80), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
def test_differences_are_those_of_the_scores_and_words_those_of_the_intervals(
    num_rows: int, own: float, other: float, seed: int
) -> None:
    truth = ["abc"[i] for i in np.random.default_rng(seed).integers(0, 3, num_rows)]
    mine, theirs = answers(num_rows, own, seed + 1, truth), answers(num_rows, other, seed + 2, truth)
    beside = pair(truth, mine, theirs)
    assert beside.num_rows == num_rows
    accuracy = next(each for each in beside.metrics if each.metric.name == "accuracy")
    assert accuracy.value == pytest.approx(np.mean([a == b for a, b in zip(truth, mine, strict=True)]))
    assert accuracy.other == pytest.approx(np.mean([a == b for a, b in zip(truth, theirs, strict=True)]))
    for each in beside.metrics:
        assert each.difference.value == pytest.approx(each.value - each.other)
        sign = 1 if each.metric.higher_is_better else -1
        low, high = sorted((sign * each.difference.low, sign * each.difference.high))
        expected = Outcome.BETTER if low > 0 else Outcome.WORSE if high < 0 else Outcome.NONE
        assert each.outcome is expected
    assert all(len(line) <= 80 for line in paired_text(beside).splitlines())


def test_the_same_answers_differ_in_nothing_though_classes_have_other_numbers() -> None:
    truth = [*"abcabcabcabcabcabc"]
    said = [*"abcabcabcabcaaaaaa"]
    for each in pair(truth, said, said).metrics:
        if each.metric.name in ("accuracy", "log_loss"):
            continue
        assert each.difference.value == pytest.approx(0, abs=1e-6)
    # As sure of themselves they are not, so they are two models, of which so few rows can't tell that they agree.
    accuracy = next(each for each in pair(truth, said, said).metrics if each.metric.name == "accuracy")
    reach = binomial_interval(0, len(truth), 0.95)[1]
    assert (accuracy.difference.low, accuracy.difference.value, accuracy.difference.high) == (-reach, 0, reach)
    assert accuracy.outcome is Outcome.NONE
    own = evaluation(LABEL, truth, said)
    for each in paired_scores(own, own, LABEL, "itself", bootstrap=50).metrics:
        assert (each.difference.low, each.difference.value, each.difference.high) == (0, 0, 0)


def test_right_on_the_same_rows_is_not_certainty_where_the_models_are_two() -> None:
    truth = [*"abcabcabcabcabcabcab"]
    sure, unsure = evaluation(LABEL, truth, truth), evaluation(LABEL, truth, truth)
    doubts = np.array(unsure.statistics["label"]["probabilities"])
    doubts[:5] = 0.5 * doubts[:5] + 0.5 / 3
    unsure = replace(unsure, statistics={"label": {**unsure.statistics["label"], "probabilities": doubts}})
    metrics = {each.metric.name: each for each in paired_scores(sure, unsure, LABEL, "x", bootstrap=200).metrics}
    reach = binomial_interval(0, 20, 0.95)[1]
    accuracy = metrics["accuracy"]
    assert (accuracy.difference.low, accuracy.difference.value, accuracy.difference.high) == (-reach, 0, reach)
    assert metrics["f1_macro"].difference == accuracy.difference
    assert metrics["log_loss"].outcome is Outcome.BETTER


def test_a_share_is_claimed_where_it_goes_beyond_what_so_many_rows_can_tell() -> None:
    truth = ["a"] * 200
    right, wrong = ["a"] * 200, ["b"] * 30 + ["a"] * 170
    (accuracy,) = [each for each in pair(truth, right, wrong).metrics if each.metric.name == "accuracy"]
    assert accuracy.outcome is Outcome.BETTER
    assert 0.09 < accuracy.difference.low < 0.15 - binomial_interval(0, 200, 0.95)[1] + 1e-9


def test_rows_that_only_one_model_can_be_scored_on_count_for_neither() -> None:
    truth = [*"abcabcabcabc", "d", "d"]
    beside = pair(truth, [*"abcabcabcabcaa"], [*"abcabcabcabcdd"])
    assert beside.num_rows == 12
    assert pair(["d"] * 12, ["a"] * 12, ["d"] * 12).metrics == ()


def test_what_is_counted_in_units_of_the_fit_is_left_out_where_targets_are_fitted_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_token = {metric.name for metric in generation_metrics() if metric.depends_on_fit}
    assert by_token == {"token_accuracy", "log_loss", "perplexity"}
    original = paired.reported_metrics

    def dependent(*arguments: Any) -> tuple[Metric, ...]:
        return tuple(replace(metric, depends_on_fit=metric.name == "log_loss") for metric in original(*arguments))

    monkeypatch.setattr(paired, "reported_metrics", dependent)
    truth = [*"abcabcabcabc"]
    assert "log_loss" not in {each.metric.name for each in pair(truth, truth, truth).metrics}
    own = evaluation(LABEL, truth, truth)
    assert "log_loss" in {each.metric.name for each in paired_scores(own, own, LABEL, "itself", bootstrap=10).metrics}


def test_a_difference_that_is_claimed_is_never_printed_as_nothing() -> None:
    truth = [*"abcabcabcabc"]
    own = evaluation(LABEL, truth, truth)
    (metric,) = [each for each in paired_scores(own, own, LABEL, "x").metrics if each.metric.name == "log_loss"]
    tiny = replace(metric, difference=Interval(-2.1e-5, -4e-5, -1e-5), outcome=Outcome.BETTER)
    text = paired_text(PairedScores(target="label", other="x", num_rows=12, metrics=(tiny,), confidence=0.95))
    assert "−2e−05" in text
    assert "−4e−05 to −1e−05" in text

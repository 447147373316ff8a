"""The verdict says no more than its table: every word is read from an interval that stands there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_statistics import statistics_of

from polysense.core.task_spec import Measure
from polysense.evaluation.baselines import SHUFFLED, UNIMODAL_ENSEMBLE, constant_baseline, unimodal_name
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import (
    ColumnContribution,
    Contributions,
    TargetContributions,
    Verdict,
    amount,
    rows_to_tell,
    verdict_of,
)
from polysense.evaluation.evaluator import Evaluation, score
from polysense.evaluation.significance import Outcome
from polysense.evaluation.simple_baselines import SimpleModel, compare_with_simple
from polysense.evaluation.verdict import Rival, TargetVerdict, rounded, verdicts
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

LABEL = ClassificationTarget(name="label", columns=("label",), classes=("a", "b", "c"), class_counts=(5, 4, 3))
ACCURACY = Measure("accuracy", "accuracy", "pp")


def evaluation(truth: np.ndarray, predicted: np.ndarray, bootstrap: int = 60) -> Evaluation:
    """A model that says so, and is fairly sure of it."""
    sure = np.full((len(truth), 3), 0.1)
    sure[np.arange(len(truth)), predicted] = 0.8
    prediction = {"values": torch.tensor(predicted), "probabilities": torch.tensor(sure)}
    statistics = {LABEL.name: statistics_of(LABEL, prediction, truth)}
    return score([LABEL], np.arange(len(truth)), statistics, bootstrap=bootstrap)


def guesses(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The truth in about a share of the rows."""
    draws = np.random.default_rng(seed)
    wrong = (truth + draws.integers(1, 3, len(truth))) % 3
    return np.where(draws.random(len(truth)) < share, truth, wrong)


def judged(
    num_rows: int, shares: tuple[float, float, float, float, float], seed: int, chose: str | None = ""
) -> TargetVerdict:
    """A model, a column, an ensemble, a simple model and the model on other rows' inputs, right in these shares."""
    truth = np.random.default_rng(seed).integers(0, 3, num_rows)
    own, single, ensemble, simple, shuffled = (
        evaluation(truth, guesses(truth, s, seed + i)) for i, s in enumerate(shares)
    )
    compared = compare_with_simple(
        own,
        LABEL,
        [SimpleModel(name="linear x", columns=("x",)), SimpleModel(name="linear all", columns=("x", "y"))],
        {"linear x": simple.statistics["label"], "linear all": single.statistics["label"]},
        bootstrap=60,
    )
    (verdict,) = verdicts(
        own,
        split="test",
        comparisons={
            "constant": constant_baseline(own, bootstrap=60),
            unimodal_name("x"): single,
            UNIMODAL_ENSEMBLE: ensemble,
            SHUFFLED: shuffled,
        },
        simple_baselines={"label": compared},
        chose=chose,
    )
    return verdict


shares = st.floats(0, 1)


@settings(max_examples=40)
@given(st.integers(1, 120), st.tuples(shares, shares, shares, shares, shares), st.integers(0, 10_000))
def test_no_sentence_contradicts_its_intervals(
    num_rows: int, right: tuple[float, float, float, float, float], seed: int
) -> None:
    verdict = judged(num_rows, right, seed)
    sentence = verdict.sentence()
    assert f"accuracy {rounded(verdict.value.value)} " in sentence
    assert {rival.rival for rival in verdict.rivals} == set(Rival)
    parts = dict.fromkeys(("better than", "not measurably different from", "worse than"), "")
    for part in sentence.rstrip(".").partition(" rows: ")[2].split("; "):
        for words in parts:
            if part.startswith(words):
                parts[words] = part
    if num_rows < 10:
        assert not any(parts.values())
        assert all(rival.outcome is Outcome.NO_CLAIM for rival in verdict.rivals)
        assert verdict.next_steps() == []
        return
    for rival in verdict.rivals:
        low, high = rival.gain.low, rival.gain.high
        expected = "better than" if low > 0 else "worse than" if high < 0 else "not measurably different from"
        for words, part in parts.items():
            assert (rival.rival.value in part) == (words == expected), (rival, sentence)
        # Paired: the gain is the difference of the two values that stand beside one another.
        assert rival.gain.value == pytest.approx(verdict.value.value - rival.value.value, abs=1e-9)
        asked = [step for step in verdict.next_steps() if step.endswith("use it.") and rival.name in step]
        assert not asked or expected == "worse than" or any(r.outcome is Outcome.WORSE for r in verdict.rivals)
    unused = [step for step in verdict.next_steps() if "the model does as well" in step]
    (shuffled,) = (rival for rival in verdict.rivals if rival.rival is Rival.SHUFFLED)
    assert bool(unused) == (shuffled.gain.low <= 0)
    exempt = (Rival.GUESSING, Rival.SHUFFLED)
    worse = [rival for rival in verdict.rivals if rival.outcome is Outcome.WORSE and rival.rival not in exempt]
    assert len([step for step in verdict.next_steps() if step.endswith("use it.")]) == len(
        {rival.name for rival in worse}
    )


def test_what_the_rows_chose_is_said_or_that_they_chose_nothing() -> None:
    for chose, words in (
        (
            "the epoch and the fusion weights",
            "The scored rows also chose the epoch and the fusion weights, which favors",
        ),
        ("", "The test rows chose nothing of the model."),
    ):
        assert judged(60, (0.9, 0.5, 0.6, 0.4, 0.3), 0, chose).caveats()[0].startswith(words)
    assert not any(" chose " in remark for remark in judged(60, (0.9, 0.5, 0.6, 0.4, 0.3), 0, None).caveats())


def test_of_an_error_less_is_better() -> None:
    target = RegressionTarget(name="price", columns=("price",), mean=(0.0,), std=(1.0,), num_rows=50)
    truth = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
    near, far = (
        score(
            [target],
            np.arange(200),
            {"price": statistics_of(target, {"values": torch.tensor(truth + error)}, truth)},
            bootstrap=60,
        )
        for error in (0.1, 0.5)
    )
    (good,) = verdicts(near, split="test", comparisons={UNIMODAL_ENSEMBLE: far})
    (bad,) = verdicts(far, split="test", comparisons={UNIMODAL_ENSEMBLE: near})
    assert "better than the ensemble" in good.sentence()
    assert "worse than the ensemble" in bad.sentence()
    assert [step for step in bad.next_steps() if "is better by" in step]


def test_nothing_is_claimed_without_intervals_or_a_value() -> None:
    truth = np.arange(30) % 3
    plain = evaluation(truth, truth, bootstrap=0)
    (verdict,) = verdicts(plain, split="test", comparisons={"constant": constant_baseline(plain, bootstrap=0)})
    assert verdict.sentence() == (
        "label: accuracy 1.000 on 30 test rows: no claim beside guessing (majority-class baseline), since there are no "
        "intervals."
    )
    nothing = replace(verdict, value=Interval(math.nan))
    assert "has no value on 30 test rows" in nothing.sentence()


@given(st.floats(-0.3, 0.3), st.floats(0, 0.3), st.integers(10, 2000))
def test_a_column_is_told_from_its_own_interval(value: float, half: float, num_rows: int) -> None:
    drop = Interval(value, value - half, value + half)
    alone, whole = {ACCURACY: Interval(0.0, -0.1, 0.1)}, {ACCURACY: Interval(0.5, 0.4, 0.6)}
    verdict, by = verdict_of([ACCURACY], {ACCURACY: drop}, alone, whole, num_rows)
    column = ColumnContribution(
        name="audio", modality="audio", num_present=num_rows, drop={ACCURACY: drop}, shapley={ACCURACY: drop},
        only_this={ACCURACY: drop}, gain_of_only_this={ACCURACY: drop}, all_but_this={ACCURACY: drop},
        trained_alone=None, verdict=verdict, by=by, rows_to_tell=rows_to_tell(drop, num_rows),
    )  # fmt: skip
    measured = TargetContributions(
        target="label", measures=(ACCURACY,), num_rows=num_rows, exact=True, nothing={ACCURACY: drop},
        full={ACCURACY: drop}, whole=whole, columns=(column,), subsets=(),
    )  # fmt: skip
    truth = np.arange(30) % 3
    own = evaluation(truth, truth, bootstrap=0)
    contributions = Contributions(targets=(measured,), num_available=num_rows, confidence=0.95)
    (told,) = verdicts(own, split="test", comparisons={}, contributions=contributions)
    steps = told.next_steps()
    low, high = amount(ACCURACY, drop.low), amount(ACCURACY, drop.high)
    between = f"audio adds {amount(ACCURACY, value)} pp accuracy ({low} to {high})"
    match verdict:
        case Verdict.INCONCLUSIVE:
            assert drop.low <= 0 <= drop.high
            (step,) = steps
            assert step.startswith(f"{between}: inconclusive; drop it, or test it on ")
            if column.rows_to_tell is not None:
                more = int(step.partition("about ")[2].partition(" more")[0].replace(",", ""))
                assert more == pytest.approx(column.rows_to_tell - num_rows, rel=0.05)
        case Verdict.NO_HELP:
            assert steps == [f"{between}: no help; drop it."]
        case Verdict.HURTS:
            assert drop.high < 0
            assert steps == [f"{between}: it hurts; drop it."]
        case _:
            assert steps == []


def test_columns_are_not_judged_by_a_model_that_only_guesses() -> None:
    truth = np.random.default_rng(0).integers(0, 3, 200)
    for share, is_judged in ((0.9, True), (0.3, False)):
        own = evaluation(truth, guesses(truth, share, 1))
        (verdict,) = verdicts(own, split="test", comparisons={"constant": constant_baseline(own, bootstrap=60)})
        steps = replace(verdict, columns=("x adds nothing: drop it.",)).next_steps()
        assert ("x adds nothing: drop it." in steps) == is_judged


def test_a_help_by_log_loss_alone_has_to_matter() -> None:
    loss = Measure("log_likelihood", "log likelihood", "nats")
    none, whole = Interval(0.0, -0.2, 0.2), {ACCURACY: Interval(0.5, 0.4, 0.6), loss: Interval(0.9, 0.8, 1.0)}
    for nats, expected in ((0.0002, Verdict.INCONCLUSIVE), (0.03, Verdict.HELPS)):
        drop = {ACCURACY: none, loss: Interval(nats, nats / 2, 2 * nats)}
        alone = {ACCURACY: none, loss: Interval(0.3, 0.2, 0.4)}
        assert verdict_of([ACCURACY, loss], drop, alone, whole, 18)[0] is expected

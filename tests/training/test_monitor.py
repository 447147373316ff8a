"""Which epoch is best."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence

import pytest
from target_records import target_of

from polysense.core.metric import Metric
from polysense.core.registry import tasks
from polysense.errors import ConfigError
from polysense.evaluation.target_metrics import metrics_of
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget
from polysense.training.monitor import Monitor

TARGETS = {
    "label": ClassificationTarget(name="label", columns=("label",), classes=("a", "b", "c")),
    "age": RegressionTarget(name="age", columns=("age",)),
    "tags": MultilabelTarget(name="tags", columns=("tags",), classes=("a", "b")),
    "a": RegressionTarget(name="a", columns=("a",)),
    "a/b": RegressionTarget(name="a/b", columns=("x", "y")),
}


def described(*names: str) -> dict[str, Sequence[Metric]]:
    return {name: metrics_of(TARGETS[name]) for name in names}


def test_a_named_metric_is_followed_in_its_own_direction() -> None:
    falling = Monitor("label/log_loss", described("label"))
    assert [falling.update({"label/log_loss": v}, i) for i, v in enumerate([0.5, 0.6, 0.4], 1)] == [True, False, True]
    assert falling.best is not None
    assert (falling.best.value, falling.best.epoch) == (0.4, 3)
    rising = Monitor("label/accuracy", described("label"))
    assert [rising.update({"label/accuracy": v}, i) for i, v in enumerate([0.5, 0.4, 0.6], 1)] == [True, False, True]


def test_a_head_may_hold_slashes() -> None:
    monitor = Monitor("a/b/rmse/x", described("a", "a/b"))
    assert [monitor.update({"a/b/rmse/x": value}, i) for i, value in enumerate([2.0, 1.0], 1)] == [True, True]
    assert monitor.short_label == "rmse/x"


def test_auto_takes_what_the_caller_prefers() -> None:
    metrics = {"label/accuracy": 0.9, "label/f1_macro": 0.4, "age/r2": 0.2}
    monitor = Monitor("auto", described("label", "age"), {"label": "f1_macro", "age": "pearson"})
    monitor.update(metrics, 1)
    assert monitor.label == "mean(label/f1_macro, age/r2)"


def test_auto_takes_one_metric_of_each_head() -> None:
    monitor = Monitor("auto", described("label", "age", "tags"))
    metrics = {
        "label/accuracy": 0.8,
        "label/log_loss": 0.5,
        "age/r2": 0.5,
        "age/rmse": 3.0,
        "tags/average_precision": 0.2,
    }
    assert monitor.update(metrics, 1)
    assert monitor.value == pytest.approx(0.5)
    assert monitor.label == "mean(label/accuracy, age/r2, tags/average_precision)"
    single = Monitor("auto", described("label"))
    single.update(metrics, 1)
    assert (single.label, single.value) == ("label/accuracy", 0.8)


def test_auto_does_with_what_there_is() -> None:
    without_r2 = Monitor("auto", described("age"))
    without_r2.update({"age/r2": math.nan, "age/rmse": 3.0}, 1)
    assert (without_r2.label, without_r2.value, without_r2.score) == ("age/rmse", 3.0, -3.0)
    only_loss = Monitor("auto", described("age", "label"))
    only_loss.update({"loss": 1.5, "label/ece": 0.5}, 1)
    assert only_loss.label == "loss"
    with pytest.raises(ConfigError, match="'auto' finds nothing"):
        Monitor("auto", described("age")).update({"other/thing": 1.0}, 1)


def test_auto_leaves_a_head_out_of_which_nothing_is_known(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor("auto", described("label", "age"))
    with caplog.at_level(logging.WARNING, logger="polysense"):
        monitor.update({"label/accuracy": 0.5, "age/r2": math.nan, "age/rmse": math.nan}, 1)
    assert monitor.label == "label/accuracy"
    assert "without ['age']" in caplog.text


def test_the_lower_loss_decides_between_equal_scores() -> None:
    monitor = Monitor("label/accuracy", described("label"))
    values = [(0.5, 0.9), (0.5, 0.95), (0.5, 0.8), (0.5, 0.8), (0.4, 0.1)]
    better = [monitor.update({"label/accuracy": a, "loss": b}, i) for i, (a, b) in enumerate(values, 1)]
    assert better == [True, False, True, False, False]


def test_nan_is_never_best(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor("label/accuracy", described("label"))
    with caplog.at_level(logging.WARNING, logger="polysense"):
        assert not monitor.update({"label/accuracy": math.nan}, 1)
    assert "not a number after epoch 1" in caplog.text
    assert monitor.best is None
    assert monitor.update({"label/accuracy": 0.1}, 2)


def test_a_metric_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"label/acuracy.*choose from: label/accuracy"):
        Monitor("label/acuracy", described("label")).update({"label/accuracy": 1.0}, 1)


def test_it_remembers(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor("auto", described("label"))
    monitor.update({"label/accuracy": 0.7, "label/log_loss": 0.5}, 1)
    state = json.loads(json.dumps(monitor.state()))
    resumed = Monitor("auto", described("label"))
    resumed.load_state(state)
    assert resumed.best == monitor.best
    assert not resumed.update({"label/accuracy": 0.6}, 2)
    other = Monitor("label/log_loss", described("label"))
    with caplog.at_level(logging.WARNING, logger="polysense"):
        other.load_state(state)
    assert other.best is None
    assert "forgotten" in caplog.text


@pytest.mark.parametrize("name", list(tasks()))
def test_the_direction_is_the_metrics_own(name: str) -> None:
    """Every metric of every task: the better value is the best, whichever comes first."""
    target = target_of(name)
    for info in metrics_of(target):
        better, worse = (1.0, 0.0) if info.higher_is_better else (0.0, 1.0)
        key = f"y/{info.name}"
        monitor = Monitor(key, {"y": metrics_of(target)})
        assert [monitor.update({key: value}, i) for i, value in enumerate((worse, better, worse), 1)] == [
            True, True, False,
        ], info.name  # fmt: skip


def test_what_nobody_describes_is_not_followed() -> None:
    with pytest.raises(ConfigError, match="nothing says whether more of 'label/charm' is better"):
        Monitor("label/charm", described("label")).update({"label/charm": 1.0}, 1)


def test_auto_averages_proper_scores_whose_directions_differ() -> None:
    monitor = Monitor("auto", described("label", "tags"), {"label": "log_loss", "tags": "average_precision"})
    values = [(0.5, 0.4), (0.3, 0.3), (0.9, 0.9), (0.3, 0.5)]
    better = [
        monitor.update({"label/log_loss": loss, "tags/average_precision": precision}, epoch)
        for epoch, (loss, precision) in enumerate(values, 1)
    ]
    assert better == [True, True, False, True]
    assert monitor.best is not None
    assert monitor.best.score == pytest.approx((0.5 - 0.3) / 2)
    assert monitor.scores == [(1, pytest.approx(-0.05)), (2, 0.0), (3, 0.0), (4, pytest.approx(0.1))]

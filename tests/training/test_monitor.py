"""Which epoch is best."""

from __future__ import annotations

import json
import logging
import math

import pytest

from polysense.errors import ConfigError
from polysense.training.monitor import Monitor, higher_is_better


def test_a_named_metric_is_followed_in_its_own_direction() -> None:
    falling = Monitor("label/log_loss", ["label"])
    assert [falling.update({"label/log_loss": v}, i) for i, v in enumerate([0.5, 0.6, 0.4], 1)] == [True, False, True]
    assert falling.best is not None
    assert (falling.best.value, falling.best.epoch) == (0.4, 3)
    rising = Monitor("label/accuracy", ["label"])
    assert [rising.update({"label/accuracy": v}, i) for i, v in enumerate([0.5, 0.4, 0.6], 1)] == [True, False, True]
    assert not higher_is_better("rmse/left eye")
    assert higher_is_better("f1_macro")


def test_a_head_may_hold_slashes() -> None:
    monitor = Monitor("a/b/rmse/x", ["a", "a/b"])
    assert [monitor.update({"a/b/rmse/x": value}, i) for i, value in enumerate([2.0, 1.0], 1)] == [True, True]
    assert monitor.short_label == "rmse/x"


def test_auto_takes_what_the_caller_prefers() -> None:
    metrics = {"label/accuracy": 0.9, "label/f1_macro": 0.4, "age/r2": 0.2}
    monitor = Monitor("auto", ["label", "age"], {"label": "f1_macro", "age": "pearson"})
    monitor.update(metrics, 1)
    assert monitor.label == "mean(label/f1_macro, age/r2)"


def test_auto_takes_one_metric_of_each_head() -> None:
    monitor = Monitor("auto", ["label", "age", "tags"])
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
    single = Monitor("auto", ["label"])
    single.update(metrics, 1)
    assert (single.label, single.value) == ("label/accuracy", 0.8)


def test_auto_does_with_what_there_is() -> None:
    without_r2 = Monitor("auto", ["age"])
    without_r2.update({"age/r2": math.nan, "age/rmse": 3.0}, 1)
    assert (without_r2.label, without_r2.value, without_r2.score) == ("age/rmse", 3.0, -3.0)
    only_loss = Monitor("auto", ["age", "label"])
    only_loss.update({"loss": 1.5, "label/ece": 0.5}, 1)
    assert only_loss.label == "loss"
    with pytest.raises(ConfigError, match="'auto' finds nothing"):
        Monitor("auto", ["age"]).update({"other/thing": 1.0}, 1)


def test_auto_leaves_a_head_out_of_which_nothing_is_known(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor("auto", ["label", "age"])
    with caplog.at_level(logging.WARNING, logger="polysense"):
        monitor.update({"label/accuracy": 0.5, "age/r2": math.nan, "age/rmse": math.nan}, 1)
    assert monitor.label == "label/accuracy"
    assert "without ['age']" in caplog.text


def test_the_lower_loss_decides_between_equal_scores() -> None:
    monitor = Monitor("label/accuracy", ["label"])
    values = [(0.5, 0.9), (0.5, 0.95), (0.5, 0.8), (0.5, 0.8), (0.4, 0.1)]
    better = [monitor.update({"label/accuracy": a, "loss": b}, i) for i, (a, b) in enumerate(values, 1)]
    assert better == [True, False, True, False, False]


def test_nan_is_never_best(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor("label/accuracy", ["label"])
    with caplog.at_level(logging.WARNING, logger="polysense"):
        assert not monitor.update({"label/accuracy": math.nan}, 1)
    assert "not a number after epoch 1" in caplog.text
    assert monitor.best is None
    assert monitor.update({"label/accuracy": 0.1}, 2)


def test_a_metric_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"label/acuracy.*choose from: label/accuracy"):
        Monitor("label/acuracy", ["label"]).update({"label/accuracy": 1.0}, 1)


def test_it_remembers(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor("auto", ["label"])
    monitor.update({"label/accuracy": 0.7, "label/log_loss": 0.5}, 1)
    state = json.loads(json.dumps(monitor.state()))
    resumed = Monitor("auto", ["label"])
    resumed.load_state(state)
    assert resumed.best == monitor.best
    assert not resumed.update({"label/accuracy": 0.6}, 2)
    other = Monitor("label/log_loss", ["label"])
    with caplog.at_level(logging.WARNING, logger="polysense"):
        other.load_state(state)
    assert other.best is None
    assert "forgotten" in caplog.text

"""Gradient blending: the weights are gains over squared overfittings, and reach the model and the log."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from balance_toys import NAMES, make_model, make_trainer, measured
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import ConfigError
from polysense.training.balance.gradient_blending import GradientBlendingConfig, blend
from polysense.training.balance.measure import OwnLosses
from polysense.training.callbacks.jsonl import JsonlLog
from polysense.training.callbacks.text_log import TextLog
from polysense.training.distributed import Distributed
from polysense.training.optimizers import SGDConfig


def losses(train: list[float], validation: list[float]) -> np.ndarray:
    return np.array([train, validation])


def test_the_shares_are_gain_over_squared_overfitting() -> None:
    # Of the three: gains 0.4, 0.3, 0.1; gaps grow by 0.2, 0.1, 0.5; so 10, 30 and 0.4 before normalizing.
    before = losses([1.0, 1.0, 1.0], [1.1, 1.2, 1.0])
    after = losses([0.4, 0.6, 0.4], [0.7, 0.9, 0.9])
    shares = blend(before, after)
    assert shares == pytest.approx([10 / 40.4, 30 / 40.4, 0.4 / 40.4])


def test_of_equal_gains_twice_the_overfitting_weighs_a_quarter() -> None:
    shares = blend(losses([1.0, 1.0], [1.0, 1.0]), losses([0.7, 0.6], [0.8, 0.8]))
    assert shares is not None
    assert shares[0] / shares[1] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # Worse on validation rows: nothing to gain, whatever the overfitting.
        (([0.5, 0.9], [0.9, 1.2]), [1.0, 0.0]),
        # No overfitting at all, a gap that shrank, and one that grew by less than the least that counts are alike.
        (([0.9, 0.9], [0.9, 0.9]), [0.5, 0.5]),
        (([0.95, 0.9], [0.9, 0.9]), [0.5, 0.5]),
        (([0.895, 0.9], [0.9, 0.9]), [0.5, 0.5]),
        # What could not be measured has no share.
        (([0.5, math.nan], [0.9, math.nan]), [1.0, 0.0]),
        (([0.5, 0.5], [0.9, math.nan]), [1.0, 0.0]),
        # Nothing gained anywhere says nothing.
        (([0.5, 0.5], [1.0, 1.1]), None),
        (([math.nan, 0.5], [math.nan, 1.0]), None),
    ],
)
def test_odd_cases_are_defined(after: tuple[list[float], list[float]], expected: list[float] | None) -> None:
    shares = blend(losses([1.0, 1.0], [1.0, 1.0]), losses(*after))
    assert shares == (None if expected is None else pytest.approx(expected))


NUMBERS = st.lists(st.floats(-5, 5) | st.just(math.nan), min_size=3, max_size=3)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_shares_are_never_negative_and_sum_to_1(a: list[float], b: list[float], c: list[float], d: list[float]) -> None:
    shares = blend(losses(a, b), losses(c, d))
    if shares is None:
        known = [not math.isnan(sum(values)) for values in zip(a, b, c, d, strict=True)]
        assert not any(new < old for old, new, there in zip(b, d, known, strict=True) if there), "nothing was gained"
    else:
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) >= 0


def weights_of(model: MultimodalModel) -> list[float]:
    """Of the loss of all columns and of each one's own."""
    named = model.unimodal_losses()["label"]
    return [model.loss_weights[name] for name in (named.together, *named.columns.values())]


def test_each_loss_is_measured_over_the_rows_that_have_it() -> None:
    model = make_model().eval()
    rows = measured()
    found = OwnLosses(model, rows, torch.device("cpu"), Distributed())("validation")
    expected = torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for target, weight in (("label", 1.0), ("size", 0.5)):
            sums = torch.zeros(4, 2, dtype=torch.float64)
            named = model.unimodal_losses()[target]
            for batch in rows["validation"]:
                every = model.losses(batch).losses
                sums[0] += torch.stack([every[target].total.sum(), every[target].count.sum()])
                for i, name in enumerate(NAMES):
                    loss, here = every[named.columns[name]], batch.columns[name].present
                    sums[1 + i] += torch.stack([loss.total.sum(), (loss.count * here).sum()])
            expected += weight * sums[:, 0] / sums[:, 1]
    assert found == pytest.approx(expected.tolist(), rel=1e-6)
    assert not model.training
    assert math.isnan(
        OwnLosses(model, {"a": [rows["train"][0].only(["clear"])]}, torch.device("cpu"), Distributed())("a")[2]
    )


def test_the_weights_reach_the_model_and_the_logs(tmp_path: Path) -> None:
    model = make_model()
    callbacks = [JsonlLog(tmp_path / "log.jsonl"), TextLog(tmp_path / "train.log")]
    config = GradientBlendingConfig(every_epochs=2)
    trainer = make_trainer(tmp_path, model, config, callbacks=callbacks, epochs=5)
    result = trainer.fit()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = [line["balance"] for line in lines if line["event"] == "epoch"]
    assert [record["balance"] for record in result.history] == logged
    assert list(logged[0]) == ["all columns", *NAMES]
    assert list(logged[0].values()) == [1.0, 0.5, 0.5, 0.5], "as in the recipe until the first measurement"
    assert logged[1] != logged[0]
    assert logged[2] == logged[1]
    assert logged[3] != logged[2]
    for weights in logged:
        assert sum(weights.values()) == pytest.approx(2.5, abs=1e-5)
        assert min(weights.values()) >= 2.5 * 0.1 / 4 - 1e-6 or weights == logged[0]
    assert weights_of(model) == pytest.approx(list(logged[-1].values()), abs=1e-6)
    assert (tmp_path / "train.log").read_text().count("the losses weigh all columns") == 2


def test_the_blend_is_that_of_the_measured_losses(tmp_path: Path) -> None:
    """The first epoch's weights, recomputed from a model of before and one of after."""
    before, after = make_model(), make_model()
    result = make_trainer(tmp_path, after, GradientBlendingConfig(evenly=0.0), epochs=1).fit()

    def measure(model: MultimodalModel) -> np.ndarray:
        model.loss_weights.update(make_model().loss_weights)  # a target weighs as in the recipe
        own = OwnLosses(model, measured(), torch.device("cpu"), Distributed())
        return losses(own("train"), own("validation"))

    shares = blend(measure(before), measure(after.eval()))
    assert shares is not None
    assert list(result.history[0]["balance"].values()) == pytest.approx([2.5 * share for share in shares], abs=1e-5)


def test_a_column_of_weight_0_is_not_lost_for_ever(tmp_path: Path) -> None:
    model = make_model()
    make_trainer(tmp_path, model, GradientBlendingConfig(evenly=0.2)).fit()
    assert min(weights_of(model)) >= 2.5 * 0.2 / 4 - 1e-6


def test_measuring_alone_changes_no_bit(tmp_path: Path) -> None:
    """Weights that come out as they were train as without."""
    without, measuring = make_model(), make_model()
    make_trainer(tmp_path / "a", without, None).fit()
    make_trainer(tmp_path / "b", measuring, GradientBlendingConfig(every_epochs=99)).fit()
    for name, value in without.state_dict().items():
        assert torch.equal(value, measuring.state_dict()[name]), name


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"add the objective: model\.objectives\.unimodal=unimodal"):
        make_trainer(tmp_path, make_model(objectives={}), GradientBlendingConfig())
    with pytest.raises(ConfigError, match=r"on validation rows, and there are none.*data\.split"):
        make_trainer(tmp_path, make_model(), GradientBlendingConfig(), splits=("train",))


@pytest.mark.parametrize("wrong", [{"every_epochs": 0}, {"evenly": 1.5}, {"min_overfitting": 0.0}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} (must be|names)"):
        GradientBlendingConfig(**wrong)  # type: ignore[arg-type]


def test_where_nothing_falls_the_weights_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = make_model()
    away = SGDConfig(lr=200.0, momentum=0.0)  # steps that lead nowhere
    with caplog.at_level(logging.INFO, logger="polysense"):
        make_trainer(tmp_path, model, GradientBlendingConfig(), epochs=1, optimizer=away).fit()
    assert "the weights stay as they were" in caplog.text
    assert weights_of(model) == [1.0, 0.5, 0.5, 0.5]

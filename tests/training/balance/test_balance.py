"""What holds for every balance: resuming is exact, and single columns are left alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from balance_toys import BALANCES, make_model, make_trainer
from training_toys import ToyLoader, ToyModel

from polysense.config.base import members
from polysense.config.codec import from_dict, to_dict
from polysense.errors import CheckpointError, ConfigError
from polysense.training.balance.gradient_blending import GradientBlendingConfig
from polysense.training.balance.ogm_ge import OGMGEConfig
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.checkpoint import load_checkpoint
from polysense.training.config import TrainingConfig
from polysense.training.run import Run
from polysense.training.trainer import Trainer


class Killed(BaseException):
    """Stands for a process that dies."""


class DieAt(Callback):
    """Dies after a step of the run."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: Run) -> None:
        if run.global_step == self.step:
            raise Killed


def test_every_member_is_tested_here() -> None:
    assert {config.type for config in BALANCES.values()} == set(members("balance"))


@pytest.mark.parametrize("name", BALANCES)
def test_a_recipe_reaches_it(name: str) -> None:
    config = TrainingConfig(balance=BALANCES[name])
    assert from_dict(TrainingConfig, to_dict(config), where="test") == config
    kind = BALANCES[name].type
    assert from_dict(TrainingConfig, {"balance": kind}, where="test").balance.type == kind  # type: ignore[union-attr]


@pytest.mark.parametrize("name", BALANCES)
@pytest.mark.parametrize("step", [4, 5])
def test_two_epochs_and_two_resumed_are_four(tmp_path: Path, name: str, step: int) -> None:
    """Two steps an epoch: step 4 is between the epochs, step 5 in the middle of the third."""
    balance = BALANCES[name]
    straight, killed, resumed = make_model(), make_model(), make_model(seed=7)
    saving = {"checkpoint_every_minutes": None}
    long = make_trainer(tmp_path / "a", straight, balance, callbacks=[], **saving).fit()
    every = Checkpointing(every_steps=step)
    with pytest.raises(Killed):
        make_trainer(tmp_path / "b", killed, balance, callbacks=[every, DieAt(step + 1)], **saving).fit()
    short = make_trainer(tmp_path / "b", resumed, balance, **saving).fit(resume=True)
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert [record["balance"] for record in long.history] == [record["balance"] for record in short.history]
    states = [load_checkpoint(tmp_path / run / "checkpoints" / "last.safetensors") for run in "ab"]
    assert states[0][1]["balance_state"] == states[1][1]["balance_state"]
    assert all(torch.equal(tensor, states[1][0][key]) for key, tensor in states[0][0].items())


def test_it_is_resumed_with_what_it_was_started_with(tmp_path: Path) -> None:
    make_trainer(tmp_path, make_model(), OGMGEConfig(), epochs=1).fit()
    with pytest.raises(CheckpointError, match=r"balance=ogm_ge, which this recipe sets to null"):
        make_trainer(tmp_path, make_model(), None).fit(resume=True)
    with pytest.raises(CheckpointError, match=r"balance=ogm_ge, which this recipe sets to gradient_blending"):
        make_trainer(tmp_path, make_model(), GradientBlendingConfig()).fit(resume=True)


@pytest.mark.parametrize("name", BALANCES)
def test_it_changes_the_run(tmp_path: Path, name: str) -> None:
    without, balanced = make_model(), make_model()
    plain = make_trainer(tmp_path / "a", without, None).fit()
    make_trainer(tmp_path / "b", balanced, BALANCES[name]).fit()
    assert any(not torch.equal(v, balanced.state_dict()[k]) for k, v in without.state_dict().items())
    assert "balance" not in plain.history[0]


@pytest.mark.parametrize("name", BALANCES)
@pytest.mark.parametrize(
    "model",
    [{"names": ("clear",)}, {"ensemble": {"apart": True}}, {"ensemble": {"weights": "validation"}}],
)
def test_where_nothing_can_be_balanced_nothing_is_done(
    tmp_path: Path, name: str, model: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """So that a recipe's baselines, a column alone and the ensemble, train with its own settings."""
    without, balanced = make_model(**model), make_model(**model)
    make_trainer(tmp_path / "a", without, None, epochs=1).fit()
    with caplog.at_level(logging.INFO, logger="polysense"):
        make_trainer(tmp_path / "b", balanced, BALANCES[name], epochs=1, splits=()).fit()
    assert "training.balance does nothing" in caplog.text
    assert all(torch.equal(v, balanced.state_dict()[k]) for k, v in without.state_dict().items())


@pytest.mark.parametrize("name", BALANCES)
def test_it_serves_an_ensemble_whose_weights_are_trained(tmp_path: Path, name: str) -> None:
    model = make_model(ensemble={"weights": "gate"}, objectives={})
    make_trainer(tmp_path, model, BALANCES[name]).fit()
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_model_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a ToyModel has no columns to balance"):
        Trainer(TrainingConfig(balance=OGMGEConfig()), ToyModel(), ToyLoader(8, 8), folder=tmp_path)

"""Staged freezing: the order, the stages, and that frozen means that no bit of a weight changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from balance_toys import NAMES, make_model, make_trainer
from torch import Tensor

from polysense.errors import ConfigError
from polysense.nn.model import MultimodalModel
from polysense.training.balance.staged_freezing import StagedFreezingConfig
from polysense.training.callbacks.base import Callback
from polysense.training.optimizers import SGDConfig
from polysense.training.run import Run

ORDER = ("noise", "vague", "clear")


class Snapshots(Callback):
    """Each encoder's weights before the run and after every epoch."""

    def __init__(self, model: MultimodalModel) -> None:
        self.model = model
        self.taken: list[dict[str, list[Tensor]]] = []

    def on_start(self, run: Run) -> None:
        self.take()

    def on_epoch(self, run: Run, record: Any) -> None:
        self.take()

    def take(self) -> None:
        self.taken.append(
            {n: [p.detach().clone() for p in e.parameters()] for n, e in self.model.column_encoders.items()}
        )

    def moved(self) -> list[set[str]]:
        """Per epoch, the columns of whose encoders any weight changed."""
        return [
            {n for n in NAMES if not all(torch.equal(a, b) for a, b in zip(before[n], after[n], strict=True))}
            for before, after in zip(self.taken, self.taken[1:], strict=False)
        ]


def moved(tmp_path: Path, config: StagedFreezingConfig, **settings: Any) -> tuple[list[set[str]], list[Any]]:
    model = make_model()
    snapshots = Snapshots(model)
    result = make_trainer(tmp_path, model, config, callbacks=[snapshots], **settings).fit()
    return snapshots.moved(), [record["balance"]["trained"] for record in result.history]


@pytest.mark.parametrize("optimizer", [None, SGDConfig(lr=0.1, momentum=0.9, weight_decay=0.1)])
def test_stages_follow_the_order_and_frozen_encoders_stay_bit_for_bit(tmp_path: Path, optimizer: Any) -> None:
    settings = {} if optimizer is None else {"optimizer": optimizer}
    changed, trained = moved(tmp_path, StagedFreezingConfig(order=ORDER), epochs=6, **settings)
    stages = [ORDER[:1], ORDER[:1], ORDER[:2], ORDER[:2], ORDER, ORDER]
    assert trained == [list(stage) for stage in stages]
    assert changed == [set(stage) for stage in stages]


def test_neither_momentum_nor_weight_decay_reaches_what_was_trained_before(tmp_path: Path) -> None:
    """After a probe in which all have learned, the optimizer holds momentum for every weight."""
    optimizer = SGDConfig(lr=0.1, momentum=0.9, weight_decay=0.5)
    changed, trained = moved(tmp_path, StagedFreezingConfig(probe_epochs=2), epochs=7, optimizer=optimizer)
    assert [len(names) for names in trained] == [3, 3, 1, 2, 3, 3, 3]
    assert changed == [set(names) for names in trained]


def test_the_probe_finds_the_weakest(tmp_path: Path) -> None:
    _, trained = moved(tmp_path, StagedFreezingConfig(probe_epochs=4), epochs=9, num_rows=64)
    assert trained[4] == ["noise"]
    assert trained[5] == ["noise", "vague"]
    assert trained[6] == ["noise", "vague", "clear"]


def test_stages_may_have_a_length(tmp_path: Path) -> None:
    _, trained = moved(tmp_path, StagedFreezingConfig(order=ORDER, stage_epochs=1), epochs=5)
    assert [len(names) for names in trained] == [1, 2, 3, 3, 3]


def test_fusion_and_heads_always_learn(tmp_path: Path) -> None:
    model = make_model()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_trainer(tmp_path, model, StagedFreezingConfig(order=ORDER, stage_epochs=1), epochs=3).fit()
    assert all(not torch.equal(p, start[n]) for n, p in model.named_parameters() if n.endswith("readout.2.weight"))
    assert any(not torch.equal(p, start[n]) for n, p in model.named_parameters() if n.startswith("fusion."))


def test_frozen_weights_are_frozen_in_the_average_too(tmp_path: Path) -> None:
    changed, _ = moved(tmp_path, StagedFreezingConfig(order=ORDER), epochs=3, ema=0.9)
    assert changed[0] == {"noise"}


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.objectives\.unimodal"):
        make_trainer(tmp_path, make_model(objectives={}), StagedFreezingConfig())
    with pytest.raises(ConfigError, match=r"there are none.*training\.balance\.order"):
        make_trainer(tmp_path, make_model(), StagedFreezingConfig(), splits=("train",))
    with pytest.raises(ConfigError, match=r"found clear, vague, and the columns are clear, vague, noise"):
        make_trainer(tmp_path, make_model(), StagedFreezingConfig(order=("clear", "vague")))
    with pytest.raises(ConfigError, match=r"at least 4 epochs"):
        make_trainer(tmp_path, make_model(), StagedFreezingConfig(), epochs=3)
    # An order of one's own needs neither heads nor validation rows.
    make_trainer(tmp_path, make_model(objectives={}), StagedFreezingConfig(order=ORDER), splits=()).fit()


@pytest.mark.parametrize("wrong", [{"probe_epochs": 0}, {"stage_epochs": 0}, {"order": ("a", "a")}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} (must be|names)"):
        StagedFreezingConfig(**wrong)

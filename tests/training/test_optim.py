"""Optimizers are torch's: what is in which group, and states that are found again by parameter name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn
from training_toys import ToyLoader, ToyModel

from polysense.config import base
from polysense.config.codec import from_dict
from polysense.errors import CheckpointError, ConfigError
from polysense.training.checkpoint import pack, unpack
from polysense.training.config import TrainingConfig
from polysense.training.optim import (
    OptimizerConfig,
    OptimizerGroup,
    load_optimizer_state,
    optimizer_state,
    sort_parameters,
)
from polysense.training.optimizers import AdamConfig, AdamWConfig, SGDConfig
from polysense.training.trainer import Trainer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def gradients(module: nn.Module, step: int) -> None:
    torch.manual_seed(100 + step)
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)


def reconstructed(optimizer: torch.optim.Optimizer, other: torch.optim.Optimizer) -> None:
    """Puts an optimizer's state into another, by way of what a checkpoint holds."""
    tensors: dict[str, torch.Tensor] = {}
    packed = pack(optimizer_state(optimizer), "optimizer", tensors)
    load_optimizer_state(other, unpack(packed, {name: tensor.clone() for name, tensor in tensors.items()}))


PAIRS: list[tuple[OptimizerConfig, Callable[..., torch.optim.Optimizer]]] = [
    (AdamWConfig(lr=0.01, weight_decay=0.3, betas=(0.8, 0.95)), partial(torch.optim.AdamW, betas=(0.8, 0.95))),
    (AdamConfig(lr=0.01, weight_decay=0.3), torch.optim.Adam),
    (SGDConfig(lr=0.05, weight_decay=0.1), partial(torch.optim.SGD, momentum=0.9)),
    (SGDConfig(lr=0.05, nesterov=True), partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    (SGDConfig(lr=0.05, momentum=0.0), torch.optim.SGD),
]


@pytest.mark.parametrize(("config", "reference"), PAIRS)
def test_ten_steps_equal_an_optimizer_made_by_hand(
    config: OptimizerConfig, reference: Callable[..., torch.optim.Optimizer]
) -> None:
    """Settings, groups and the fused kernel change nothing, also where a parameter gets its first gradient late."""
    ours, theirs = network(), network()
    optimizer = config.build(sort_parameters(config, ours))
    assert optimizer.param_groups[0]["fused"]
    decayed = [p for n, p in theirs.named_parameters() if n in ("1.weight", "3.weight")]
    rest = [p for n, p in theirs.named_parameters() if n not in ("1.weight", "3.weight")]
    by_hand = reference(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=config.lr,
        foreach=False,
    )
    for step in range(10):
        for module, each in ((ours, optimizer), (theirs, by_hand)):
            gradients(module, step)
            if step < 3:
                module[1].weight.grad = None
            each.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


BUILDS: list[Callable[[Sequence[OptimizerGroup]], torch.optim.Optimizer]] = [
    *(config.build for config, _ in PAIRS),
    torch.optim.RAdam,
    partial(torch.optim.RMSprop, momentum=0.5),
]


@pytest.mark.parametrize("build", BUILDS)
def test_a_restored_state_resumes_bit_for_bit(build: Callable[..., torch.optim.Optimizer]) -> None:
    straight, resumed = network(), network()
    for module in (straight, resumed):  # fused kernels walk over memory, so a state must have its parameter's strides
        module[1].weight = nn.Parameter(module[1].weight.detach().t().contiguous().t())
    config = AdamWConfig()
    first = build(sort_parameters(config, straight))
    for step in range(3):
        gradients(straight, step)
        straight[3].weight.grad = None  # has no state yet when it is saved
        first.step()
    resumed.load_state_dict(straight.state_dict())
    # Other groups in another order, as after an edit of the recipe that the optimizer's state doesn't depend on.
    groups = sort_parameters(config, resumed)
    second = build([*groups[::-1]])
    reconstructed(first, second)
    for step in range(3, 6):
        for module, optimizer in ((straight, first), (resumed, second)):
            gradients(module, step)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("config", [AdamWConfig(), SGDConfig()])
def test_a_parameter_without_gradient_stays(config: OptimizerConfig) -> None:
    module = network()
    optimizer = config.build(sort_parameters(config, module))
    before = [p.detach().clone() for p in module.parameters()]
    gradients(module, 0)
    module[1].weight.grad = None
    optimizer.step()
    same = [torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]
    names = [name for name, _ in module.named_parameters()]
    assert [name for name, unchanged in zip(names, same, strict=True) if unchanged] == ["1.weight"]


def test_only_matrices_decay() -> None:
    module = network()
    module.register_parameter("token", nn.Parameter(torch.zeros(1, 1, 8)))
    groups = sort_parameters(AdamWConfig(weight_decay=0.3), module)
    decayed = {name for group in groups if group["weight_decay"] for name, _ in group["params"]}
    assert decayed == {"1.weight", "3.weight"}
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))


def test_a_pretrained_part_has_its_own_rate() -> None:
    module = network()
    body = list(module[1].parameters())
    groups = sort_parameters(AdamWConfig(lr=0.01, weight_decay=0.3), module, [{"params": body, "lr_scale": 0.1}])
    rates = {name: (group["lr"], group["weight_decay"]) for group in groups for name, _ in group["params"]}
    assert rates["1.weight"] == (pytest.approx(0.001), 0.3)
    assert rates["1.bias"] == (pytest.approx(0.001), 0.0)
    assert rates["3.weight"] == (0.01, 0.3)
    with pytest.raises(ConfigError, match="two parameter groups"):
        sort_parameters(AdamWConfig(), module, [{"params": body}, {"params": body}])


def test_frozen_parameters_are_left_out() -> None:
    module = network()
    module[0].requires_grad_(False)
    groups = sort_parameters(AdamWConfig(), module)
    assert sum(len(group["params"]) for group in groups) == 6
    module.requires_grad_(False)
    with pytest.raises(ConfigError, match="no trainable parameter"):
        sort_parameters(AdamWConfig(), module)


@pytest.mark.parametrize("config", [AdamWConfig(), SGDConfig()])
def test_another_models_state_is_refused_and_says_where(config: OptimizerConfig) -> None:
    module = network()
    optimizer = config.build(sort_parameters(config, module))
    gradients(module, 0)
    optimizer.step()

    def refused(other: nn.Sequential, match: str) -> None:
        with pytest.raises(CheckpointError, match=f"other trainable parameters.*{match}"):
            reconstructed(optimizer, config.build(sort_parameters(config, other)))

    frozen, grown, wider = network(), network(), network()
    frozen[3].requires_grad_(False)
    refused(frozen, "3.weight was trained and is not now")
    grown.append(nn.Linear(2, 2))
    refused(grown, "4.weight is trained now and was not")
    wider[3] = nn.Linear(8, 3)
    refused(wider, r"3.weight is of shape \[3, 8\] and was of \[2, 8\]")


@pytest.fixture
def registry() -> Iterator[None]:
    """Takes back the optimizer that a test registers."""
    yield
    del base._families["optimizer"]["nadam"]


@pytest.mark.usefixtures("registry")
def test_a_third_partys_optimizer_trains_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class NAdamConfig(OptimizerConfig):
        """Adam with Nesterov's momentum."""

        type: Literal["nadam"] = "nadam"
        lr: float = 2e-3
        momentum_decay: float = 4e-3

        def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.Optimizer:
            return torch.optim.NAdam(groups, momentum_decay=self.momentum_decay)

    schedule = {"type": "constant", "warmup": 0.0}  # so that a run of one epoch begins like one of three
    optimizer = {"type": "nadam", "momentum_decay": 0.01}

    def train(folder: str, epochs: int, resume: bool = False) -> ToyModel:
        settings = {"epochs": epochs, "schedule": schedule, "optimizer": optimizer, "device": "cpu"}
        model = ToyModel()
        trainer = Trainer(from_dict(TrainingConfig, settings), model, ToyLoader(40, 32), folder=tmp_path / folder)
        trainer.fit(resume=resume)
        return model

    straight = train("straight", 3)
    once = train("stopped", 1)
    resumed = train("stopped", 3, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
    assert not torch.equal(once.label.weight, resumed.label.weight)

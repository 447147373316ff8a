"""The optimizers are torch's own, without torch's classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from polysense.errors import CheckpointError, ConfigError
from polysense.training.adam import AdamConfig, AdamWConfig
from polysense.training.checkpoint import pack, unpack
from polysense.training.optim import Optimizer, OptimizerConfig, TorchOptimizer, sort_parameters
from polysense.training.sgd import SGDConfig


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def gradients(module: nn.Module, step: int) -> None:
    torch.manual_seed(100 + step)
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)


PAIRS: list[tuple[OptimizerConfig, Callable[..., torch.optim.Optimizer]]] = [
    (AdamWConfig(lr=0.01, weight_decay=0.3, betas=(0.8, 0.95)), partial(torch.optim.AdamW, betas=(0.8, 0.95))),
    (AdamConfig(lr=0.01, weight_decay=0.3), torch.optim.Adam),
    (SGDConfig(lr=0.05, weight_decay=0.1), partial(torch.optim.SGD, momentum=0.9)),
    (SGDConfig(lr=0.05, nesterov=True), partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
    (SGDConfig(lr=0.05, momentum=0.0), torch.optim.SGD),
]


@pytest.mark.parametrize(("config", "reference"), PAIRS)
def test_ten_steps_equal_torchs_class(config: OptimizerConfig, reference: Callable[..., Any]) -> None:
    ours, theirs = network(), network()
    optimizer = config.build(sort_parameters(config, ours))
    decayed = [p for n, p in theirs.named_parameters() if n in ("1.weight", "3.weight")]
    rest = [p for n, p in theirs.named_parameters() if n not in ("1.weight", "3.weight")]
    torchs = reference(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=1.0
    )
    for step in range(10):
        gradients(ours, step)
        gradients(theirs, step)
        factor = 1 - step / 20
        for group in torchs.param_groups:
            group["lr"] = config.lr * factor
        optimizer.step(factor)
        torchs.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        *(lambda groups, config=config: config.build(groups) for config, _ in PAIRS),
        lambda groups: TorchOptimizer(groups, torch.optim.RAdam),
        lambda groups: TorchOptimizer(groups, torch.optim.RMSprop, momentum=0.5),
    ],
)
def test_a_restored_state_goes_on_bit_for_bit(build: Callable[..., Optimizer]) -> None:
    straight, resumed = network(), network()
    config = AdamWConfig()
    first = build(sort_parameters(config, straight))
    for step in range(3):
        gradients(straight, step)
        first.step(0.5)
    tensors: dict[str, torch.Tensor] = {}
    skeleton = pack(first.state(), "optimizer", tensors)
    resumed.load_state_dict(straight.state_dict())
    second = build(sort_parameters(config, resumed))
    second.load_state(unpack(skeleton, {name: tensor.clone() for name, tensor in tensors.items()}))
    for step in range(3, 6):
        for module, optimizer in ((straight, first), (resumed, second)):
            gradients(module, step)
            optimizer.step(0.5)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize("config", [AdamWConfig(), SGDConfig()])
def test_a_parameter_without_gradient_stays(config: OptimizerConfig) -> None:
    module = network()
    optimizer = config.build(sort_parameters(config, module))
    before = [p.detach().clone() for p in module.parameters()]
    gradients(module, 0)
    module[1].weight.grad = None  # type: ignore[union-attr,index]
    optimizer.step(1.0)
    same = [torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]
    names = [name for name, _ in module.named_parameters()]
    assert [name for name, kept in zip(names, same, strict=True) if kept] == ["1.weight"]
    optimizer.zero_grad()
    assert all(p.grad is None for p in module.parameters())


def test_only_matrices_decay() -> None:
    module = network()
    module.register_parameter("token", nn.Parameter(torch.zeros(1, 1, 8)))
    groups = sort_parameters(AdamWConfig(weight_decay=0.3), module)
    decayed = {id(p) for group in groups if group.weight_decay for p in group.params}
    assert {n for n, p in module.named_parameters() if id(p) in decayed} == {"1.weight", "3.weight"}
    assert sum(len(group.params) for group in groups) == len(list(module.parameters()))


def test_a_pretrained_part_has_its_own_rate() -> None:
    module = network()
    body = list(module[1].parameters())  # type: ignore[index]
    groups = sort_parameters(AdamWConfig(lr=0.01, weight_decay=0.3), module, [{"params": body, "lr_scale": 0.1}])
    rates = {id(p): (group.lr, group.weight_decay) for group in groups for p in group.params}
    assert rates[id(body[0])] == (pytest.approx(0.001), 0.3)
    assert rates[id(body[1])] == (pytest.approx(0.001), 0.0)
    assert rates[id(module[3].weight)] == (0.01, 0.3)  # type: ignore[index]
    with pytest.raises(ConfigError, match="two parameter groups"):
        sort_parameters(AdamWConfig(), module, [{"params": body}, {"params": body}])


def test_frozen_parameters_are_left_out() -> None:
    module = network()
    module[0].requires_grad_(False)  # type: ignore[index]
    groups = sort_parameters(AdamWConfig(), module)
    assert sum(len(group.params) for group in groups) == 6
    module.requires_grad_(False)
    with pytest.raises(ConfigError, match="no trainable parameter"):
        sort_parameters(AdamWConfig(), module)


@pytest.mark.parametrize("config", [AdamWConfig(), SGDConfig()])
def test_another_models_state_is_refused(config: OptimizerConfig) -> None:
    module, other = network(), nn.Linear(3, 3)
    optimizer = config.build(sort_parameters(config, module))
    gradients(module, 0)
    optimizer.step(1.0)
    with pytest.raises(CheckpointError, match="other trainable parameters"):
        config.build(sort_parameters(config, other)).load_state(optimizer.state())
    adapter = TorchOptimizer(sort_parameters(config, module), torch.optim.RAdam)
    gradients(module, 0)
    adapter.step(1.0)
    with pytest.raises(CheckpointError, match="other trainable parameters"):
        TorchOptimizer(sort_parameters(config, other), torch.optim.RAdam).load_state(adapter.state())

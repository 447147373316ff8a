"""Optimizers of torch.optim: each parameter's learning rate and weight decay, and the state as a checkpoint holds it.

A member of the family `optimizer` builds any `torch.optim.Optimizer` from parameter groups in torch's own form. Every
parameter carries its name, so a checkpoint's state is assigned by name, and `get_optimizer_state_dict` of
`torch.distributed.checkpoint.state_dict` reads and writes it for any number of processes. The trade-off: the first
object of such a class imports `torch._dynamo`, 150 MiB and 2 s that a training of small encoders would do without.

Weight decay shrinks matrices only. Biases, gains and learned tokens are not what it is meant to regularize, and a row
of an embedding table would shrink in every step in which its word does not occur, which is no evidence against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from polysense.config.base import Family
from polysense.config.limits import NonNegativeFloat, PositiveFloat
from polysense.errors import CheckpointError, ConfigError

__all__ = [
    "OptimizerConfig",
    "OptimizerGroup",
    "can_fuse",
    "keep_kernel",
    "load_optimizer_state",
    "optimizer_state",
    "sort_parameters",
]

Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)
OptimizerGroup: TypeAlias = dict[str, Any]
"""A parameter group as `torch.optim` takes it: `params` (pairs of name and parameter), `lr` and `weight_decay`."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Family, family="optimizer"):
    """What turns gradients into steps.

    Attributes:
        lr: Peak learning rate.
        weight_decay: How strongly weight matrices are pulled to 0; biases, norms and embeddings are spared.
    """

    type: str
    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0

    def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.Optimizer:
        """The optimizer of those parameters.

        Its `step` is called without a closure, each group's `lr` being set to what the schedule makes of it before. A
        parameter whose gradient is None must stay as it is.
        """
        raise AssertionError(f"{type(self).__name__} builds nothing")


def sort_parameters(
    config: OptimizerConfig, module: nn.Module, special: Sequence[Mapping[str, Any]] = ()
) -> list[OptimizerGroup]:
    """A module's trainable parameters by learning rate and weight decay.

    Args:
        config: The learning rate and weight decay of most.
        module: Whose parameters.
        special: Parameters that are trained unlike the rest, each a `ParameterGroup`.

    Returns:
        Groups in a fixed order, none empty.

    Raises:
        ConfigError: Nothing is trainable, or a parameter stands in two groups.
    """
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag))}
    settings: dict[int, tuple[float, float]] = {}
    for group in special:
        for parameter in group["params"]:
            if id(parameter) in settings:
                raise ConfigError(f"a parameter of shape {tuple(parameter.shape)} stands in two parameter groups")
            settings[id(parameter)] = (
                config.lr * group.get("lr_scale", 1.0),
                group.get("weight_decay", config.weight_decay),
            )
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            lr, decay = settings.get(id(parameter), (config.lr, config.weight_decay))
            # A learned token of shape [1, 1, width] is a vector.
            if id(parameter) in embeddings or sum(size > 1 for size in parameter.shape) < 2:
                decay = 0.0
            groups.setdefault((lr, decay), []).append((name, parameter))
    if not groups:
        raise ConfigError("the model has no trainable parameter: unfreeze an encoder, or evaluate it without training")
    return [{"params": named, "lr": lr, "weight_decay": decay} for (lr, decay), named in groups.items()]


def can_fuse(groups: Sequence[OptimizerGroup]) -> bool:
    """Whether torch has one kernel for the whole update.

    On one CPU core AdamW over 60 matrices of 64 x 64 takes 0.9 ms fused, 3.3 ms foreach, 4.6 ms as a loop.
    """
    parameters = [parameter for group in groups for _, parameter in group["params"]]
    return all(p.device.type in ("cpu", "cuda", "mps", "xpu") and p.is_floating_point() for p in parameters)


def keep_kernel(optimizer: Optimizer) -> Optimizer:
    """The optimizer, which from now on loads no other kernel with a state.

    torch saves `fused` and `foreach` among a group's settings, though they belong to where the parameters lie: a state
    saved by one process would bring a kernel that can't take another's shards.
    """

    def keep(loading: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = [
            saved | {name: own[name] for name in ("fused", "foreach")}
            for saved, own in zip(state["param_groups"], loading.param_groups, strict=True)
        ]
        return state | {"param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(keep)
    return optimizer


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What a checkpoint must remember of an optimizer that `sort_parameters` made the groups of.

    The groups' settings are the recipe's and the schedule's affair and are left out.

    Returns:
        `parameters`, the names in order, and `state`: by parameter name what the optimizer holds of it, which is
        nothing for one that has had no gradient yet. Tensors are the optimizer's own, not copies.
    """
    names = list(_named(optimizer))
    state = optimizer.state_dict()["state"]
    return {"parameters": names, "state": {names[index]: dict(values) for index, values in state.items()}}


def load_optimizer_state(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Takes up what `optimizer_state` gave; the optimizer's groups may be others or in another order.

    Raises:
        CheckpointError: It belongs to other parameters; names some.
    """
    named = _named(optimizer)
    state: Mapping[str, Mapping[str, Any]] = saved["state"]
    problems = [f"{name} is trained now and was not" for name in named if name not in saved["parameters"]]
    problems += [f"{name} was trained and is not now" for name in saved["parameters"] if name not in named]
    problems += [
        f"{name} is of shape {list(named[name].shape)} and was of {list(value.shape)}"
        for name, values in state.items()
        for value in values.values()
        if name in named and isinstance(value, Tensor) and value.ndim and value.shape != named[name].shape
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            "the optimizer's state in the checkpoint fits other trainable parameters than this recipe's: "
            f"{'; '.join(problems[:3])}{more}. Resume with the recipe that the run was started with, or start a new run"
        )
    own = optimizer.state_dict()
    order = {name: index for index, name in enumerate(named)}
    own["state"] = {
        order[name]: {key: _strided_as(named[name], value) for key, value in values.items()}
        for name, values in state.items()
    }
    optimizer.load_state_dict(own)


def _named(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The parameters by name, in the optimizer's order."""
    return {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
    }


def _strided_as(parameter: Tensor, value: Any) -> Any:
    """A copy that lies in memory as its parameter does: fused kernels walk over both as if they were flat."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)

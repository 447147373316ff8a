"""FSDP2: every encoder, the fusion, every head and objective is a unit whose parameters are sharded over processes.

Parameters are gathered around `forward`, and around what a part names in its FORWARD_METHODS: a head's loss may use
parameters, an encoder's own losses do. Nothing else touches them, so nothing sees a shard in place of a weight.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from polysense.nn.model import MultimodalModel

__all__ = ["shard"]


def shard(model: MultimodalModel) -> MultimodalModel:
    """Shards a model in place, over the default process group; gradients are averaged over the processes."""
    parts: list[nn.Module] = [*model.encoders, model.fusion, *model.heads, *model.objectives]
    for part in parts:
        if any(True for _ in part.parameters()):
            fully_shard(part)
            _register(part, _methods(part))
    fully_shard(model)
    _register(model, model.FORWARD_METHODS)
    return model


def _methods(part: nn.Module) -> tuple[str, ...]:
    names: tuple[str, ...] = vars(type(part)).get("FORWARD_METHODS", ())
    for base in type(part).__mro__:
        names = names or vars(base).get("FORWARD_METHODS", ())
    return names


def _register(module: nn.Module, names: Iterable[str]) -> None:
    for name in names:
        if name != "forward":
            register_fsdp_forward_method(module, name)

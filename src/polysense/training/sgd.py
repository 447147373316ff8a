"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.errors import ConfigError
from polysense.training.optim import OptimizerConfig, OptimizerGroup, can_fuse, keep_kernel

__all__ = ["SGDConfig"]


@dataclass(frozen=True, kw_only=True)
class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum.

    Attributes:
        lr: Peak learning rate.
        weight_decay: How strongly weight matrices are pulled to 0; biases, norms and embeddings are spared.
        momentum: Share of the last step that is repeated.
        nesterov: Whether the gradient is taken ahead of the momentum's step.
    """

    type: Literal["sgd"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must be at least 0 and below 1; found {self.momentum}")
        if self.nesterov and self.momentum == 0:
            raise ConfigError("nesterov needs a momentum above 0")

    def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.SGD:
        """See `OptimizerConfig`."""
        # torch 2.15 has this kernel for no shards of fully_shard (DTensor, not plain Parameter); it has Adam's.
        whole = all(type(parameter) is nn.Parameter for group in groups for _, parameter in group["params"])
        fused = (whole and can_fuse(groups)) or None
        optimizer = torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov, fused=fused)
        if self.momentum:
            # torch's fused kernel takes the momenta of all parameters or of none, and one may get its first gradient
            # late. Without dampening, a momentum of 0 comes to what torch does in a first step: it takes the gradient.
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)
        return keep_kernel(optimizer)

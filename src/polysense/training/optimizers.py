"""The optimizers of `torch.optim` that a recipe can name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne, NonNegativeFloat, PositiveFloat
from polysense.errors import ConfigError
from polysense.training.optim import OptimizerConfig, OptimizerGroup, can_fuse, keep_kernel

__all__ = ["AdamConfig", "AdamWConfig", "SGDConfig"]


@dataclass(frozen=True, kw_only=True)
class _AdamConfig(OptimizerConfig):
    """What Adam and AdamW share.

    Attributes:
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
    """

    optimizer: ClassVar[type[torch.optim.Adam]]
    lr: PositiveFloat = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be at least 0 and below 1; found {list(self.betas)}")

    def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.Adam:
        return keep_kernel(self.optimizer(groups, betas=self.betas, eps=self.eps, fused=can_fuse(groups) or None))


@dataclass(frozen=True, kw_only=True)
class AdamWConfig(_AdamConfig):
    """AdamW (Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2)."""

    optimizer = torch.optim.AdamW
    type: Literal["adamw"] = "adamw"
    weight_decay: NonNegativeFloat = 0.01


@dataclass(frozen=True, kw_only=True)
class AdamConfig(_AdamConfig):
    """Adam (Kingma, Ba, ICLR 2015, algorithm 1); weight decay, if any, is added to the gradient."""

    optimizer = torch.optim.Adam
    type: Literal["adam"] = "adam"


@dataclass(frozen=True, kw_only=True)
class SGDConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum.

    Attributes:
        momentum: Share of the last step that is repeated.
        nesterov: Whether the gradient is taken ahead of the momentum's step.
    """

    type: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.05
    momentum: FractionBelowOne = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum must be at least 0 and below 1; found {self.momentum}")
        if self.nesterov and self.momentum == 0:
            raise ConfigError("nesterov needs a momentum above 0")

    def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.SGD:
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

"""AdamW and Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from polysense.errors import ConfigError
from polysense.training.optim import OptimizerConfig, OptimizerGroup, can_fuse, keep_kernel

__all__ = ["AdamConfig", "AdamWConfig"]


@dataclass(frozen=True, kw_only=True)
class AdamWConfig(OptimizerConfig):
    """AdamW (Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2).

    Attributes:
        lr: Peak learning rate.
        weight_decay: How strongly weight matrices are pulled to 0; biases, norms and embeddings are spared.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
    """

    type: Literal["adamw"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas(self.betas)

    def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.AdamW:
        """See `OptimizerConfig`."""
        fused = can_fuse(groups) or None
        return keep_kernel(torch.optim.AdamW(groups, betas=self.betas, eps=self.eps, fused=fused))


@dataclass(frozen=True, kw_only=True)
class AdamConfig(OptimizerConfig):
    """Adam (Kingma, Ba, ICLR 2015, algorithm 1); weight decay, if any, is added to the gradient.

    Attributes:
        lr: Peak learning rate.
        weight_decay: How strongly weight matrices are pulled to 0; biases, norms and embeddings are spared.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
    """

    type: Literal["adam"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas(self.betas)

    def build(self, groups: Sequence[OptimizerGroup]) -> torch.optim.Adam:
        """See `OptimizerConfig`."""
        fused = can_fuse(groups) or None
        return keep_kernel(torch.optim.Adam(groups, betas=self.betas, eps=self.eps, fused=fused))


def _check_betas(betas: tuple[float, float]) -> None:
    if not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"betas must be at least 0 and below 1; found {list(betas)}")

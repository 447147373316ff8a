"""AdamW and Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from polysense.errors import ConfigError
from polysense.training.optim import Group, Optimizer, OptimizerConfig, copy_states

__all__ = ["Adam", "AdamConfig", "AdamWConfig"]


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

    def build(self, groups: Sequence[Group]) -> Optimizer:
        """See `OptimizerConfig`."""
        return Adam(groups, betas=self.betas, eps=self.eps, decoupled=True)


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

    def build(self, groups: Sequence[Group]) -> Optimizer:
        """See `OptimizerConfig`."""
        return Adam(groups, betas=self.betas, eps=self.eps, decoupled=False)


def _check_betas(betas: tuple[float, float]) -> None:
    if not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"betas must be at least 0 and below 1; found {list(betas)}")


class Adam(Optimizer):
    """Adam, with its weight decay in the gradient or decoupled from it.

    Args:
        groups: The parameters.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
        decoupled: Whether weight decay bypasses the gradient (AdamW).
    """

    def __init__(self, groups: Sequence[Group], *, betas: tuple[float, float], eps: float, decoupled: bool) -> None:
        super().__init__(groups)
        self._betas, self._eps = betas, eps
        self._update = adamw if decoupled else adam
        self._means = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self._squares = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        # One per parameter, on its device: a fused kernel's bias correction reads it there.
        self._steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """See `Optimizer`."""
        start = 0
        for group in self.groups:
            live = [(i, p, p.grad) for i, p in enumerate(group.params, start) if p.grad is not None]
            start += len(group.params)
            if live:
                self._update(
                    [parameter for _, parameter, _ in live],
                    [gradient for _, _, gradient in live],
                    [self._means[i] for i, _, _ in live],
                    [self._squares[i] for i, _, _ in live],
                    [],
                    [self._steps[i] for i, _, _ in live],
                    fused=group.fused or None,
                    amsgrad=False,
                    beta1=self._betas[0],
                    beta2=self._betas[1],
                    lr=group.lr * factor,
                    weight_decay=group.weight_decay,
                    eps=self._eps,
                    maximize=False,
                )

    def state(self) -> dict[str, Any]:
        """See `Optimizer`."""
        return {"means": list(self._means), "squares": list(self._squares), "steps": list(self._steps)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `Optimizer`."""
        own: dict[str, list[Tensor]] = self.state()
        for name, tensors in own.items():
            copy_states(tensors, state[name])

    def clear(self) -> None:
        """See `Optimizer`."""
        self._means, self._squares, self._steps = [], [], []

"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from polysense.errors import ConfigError
from polysense.training.optim import Group, Optimizer, OptimizerConfig, copy_states, foreign_state

__all__ = ["SGD", "SGDConfig"]


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

    def build(self, groups: Sequence[Group]) -> Optimizer:
        """See `OptimizerConfig`."""
        return SGD(groups, momentum=self.momentum, nesterov=self.nesterov)


class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        groups: The parameters.
        momentum: Share of the last step that is repeated.
        nesterov: Whether the gradient is taken ahead of the momentum's step.
    """

    def __init__(self, groups: Sequence[Group], *, momentum: float, nesterov: bool) -> None:
        super().__init__(groups)
        self._momentum, self._nesterov = momentum, nesterov
        # None until a parameter's first gradient, which becomes its momentum as it is.
        self._momenta: list[Tensor | None] = [None] * len(self.parameters)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """See `Optimizer`."""
        start = 0
        for group in self.groups:
            live = [(i, p, p.grad) for i, p in enumerate(group.params, start) if p.grad is not None]
            start += len(group.params)
            # A parameter may get its first gradient late; the fused kernel takes the momenta of all or of none.
            first = [part for part in live if self._momenta[part[0]] is None]
            later = [part for part in live if self._momenta[part[0]] is not None]
            self._update(first, group, factor)
            self._update(later, group, factor)

    def _update(self, live: Sequence[tuple[int, Tensor, Tensor]], group: Group, factor: float) -> None:
        if not live:
            return
        momenta = [self._momenta[i] for i, _, _ in live]
        sgd(
            [parameter for _, parameter, _ in live],
            [gradient for _, _, gradient in live],
            momenta,
            fused=group.fused or None,
            weight_decay=group.weight_decay,
            momentum=self._momentum,
            lr=group.lr * factor,
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
        )
        for (i, _, _), momentum in zip(live, momenta, strict=True):
            self._momenta[i] = momentum

    def state(self) -> dict[str, Any]:
        """See `Optimizer`."""
        return {"momenta": list(self._momenta)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `Optimizer`."""
        saved = state["momenta"]
        if len(saved) != len(self._momenta):
            raise foreign_state()
        for i, (parameter, momentum) in enumerate(zip(self.parameters, saved, strict=True)):
            if momentum is not None:
                own = torch.zeros_like(parameter, requires_grad=False)
                copy_states([own], [momentum])
                self._momenta[i] = own

    def clear(self) -> None:
        """See `Optimizer`."""
        self._momenta = []

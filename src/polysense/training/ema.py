"""A running average of the weights.

Averaging over the last steps takes out much of the noise that a constant or still high learning rate leaves in the
weights, at one more copy of them. The decay is warmed up, min(decay, (1 + t) / (10 + t)), so that the first weights
are soon forgotten. Running statistics (buffers) are averages already: the model's own are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """The running average of a module's trainable parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._live.items()}
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters after a step."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        torch._foreach_lerp_(list(self._average.values()), list(self._live.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the module has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._live.items():
            parameter.data, self._average[name] = self._average[name], parameter.data

    @property
    def steps(self) -> int:
        """Updates so far."""
        return self._steps

    def state(self) -> dict[str, Tensor]:
        """The average, by parameter name."""
        return dict(self._average)

    def load_state(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """Takes up what `state` and `steps` gave."""
        for name, average in self._average.items():
            average.copy_(tensors[name])
        self._steps = steps

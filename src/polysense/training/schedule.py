"""The learning rate over a run.

A schedule is a pure function of the step, so resuming needs no schedule state and cannot drift from a run that was
never stopped. `plateau` is the exception, since it follows the validation metric: its three numbers are saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from polysense.config.base import Family
from polysense.config.limits import FractionBelowOne
from polysense.errors import ConfigError

__all__ = ["ConstantConfig", "CosineConfig", "PlateauConfig", "Schedule", "ScheduleConfig"]


class Schedule:
    """A factor for the optimizer's learning rate: a linear warm-up, then a decay.

    Args:
        total_steps: Optimization steps of the whole run.
        warmup: The share of them over which the factor rises.
        decay: The factor at a share of the steps that follow.
    """

    def __init__(self, total_steps: int, warmup: float, decay: Callable[[float], float]) -> None:
        self._share, self._decay = warmup, decay
        self.plan(total_steps)

    def plan(self, total_steps: int) -> None:
        """Lays the schedule over another number of steps: what a run is going to have, once its pace is known."""
        self._total, self._warmup = total_steps, round(self._share * total_steps)

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at a step, counted from 0 over the whole run."""
        if step < self._warmup:
            return (step + 1) / (self._warmup + 1)  # from 1/(w+1), not 0: the first batch would be wasted
        return self._decay(min(1.0, (step - self._warmup) / max(1, self._total - self._warmup)))

    def observe(self, score: float) -> None:
        """Is told the monitored metric after each validation, as a score of which higher is better."""

    def state(self) -> dict[str, float]:
        """What a checkpoint must remember."""
        return {}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Takes up what `state` gave."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Family, family="schedule"):
    """How the learning rate changes over a run.

    Attributes:
        warmup: Fraction of all steps over which the learning rate rises linearly from 0.
    """

    type: str
    warmup: FractionBelowOne = 0.05

    def build(self, total_steps: int) -> Schedule:
        """The schedule of a run of that many optimization steps."""
        return Schedule(total_steps, self.warmup, self.decay)

    def decay(self, progress: float) -> float:
        """The factor once a share of the steps after the warm-up is done; by default it is constant."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class CosineConfig(ScheduleConfig):
    """Warm-up, then half a cosine down (Loshchilov, Hutter, "SGDR", ICLR 2017, equation 5, one cycle).

    Attributes:
        final: The learning rate at the end, as a fraction of its peak.
    """

    type: Literal["cosine"] = "cosine"
    final: float = 0.0

    def decay(self, progress: float) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class ConstantConfig(ScheduleConfig):
    """Warm-up, then constant."""

    type: Literal["constant"] = "constant"


@dataclass(frozen=True, kw_only=True)
class PlateauConfig(ScheduleConfig):
    """Warm-up, then constant, and less each time the monitored metric stops improving.

    Attributes:
        reduction: What the learning rate is multiplied by.
        patience: Validations without improvement before it is.
        final: It never falls below this fraction of its peak.
    """

    type: Literal["plateau"] = "plateau"
    reduction: float = 0.5
    patience: int = 2
    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.reduction < 1 or self.patience < 1:
            raise ConfigError(
                f"a plateau needs 0 < reduction < 1 and patience >= 1; found {self.reduction} and {self.patience}"
            )

    def build(self, total_steps: int) -> Schedule:
        return Plateau(self, total_steps)


class Plateau(Schedule):
    """Warm-up, then less whenever the metric stalls."""

    def __init__(self, config: PlateauConfig, total_steps: int) -> None:
        super().__init__(total_steps, config.warmup, config.decay)
        self._config, self._scale, self._best, self._stalled = config, 1.0, -math.inf, 0

    def factor(self, step: int) -> float:
        return self._scale * super().factor(step)

    def observe(self, score: float) -> None:
        if score > self._best:
            self._best, self._stalled = score, 0
            return
        self._stalled += 1
        if self._stalled >= self._config.patience:
            self._scale, self._stalled = max(self._config.final, self._scale * self._config.reduction), 0

    def state(self) -> dict[str, float]:
        return {"scale": self._scale, "best": self._best, "stalled": self._stalled}

    def load_state(self, state: Mapping[str, float]) -> None:
        if state:
            self._scale, self._best, self._stalled = state["scale"], state["best"], int(state["stalled"])

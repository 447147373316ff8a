"""Rows at random: what every other strategy has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.base import StrategyConfig

__all__ = ["RandomConfig"]


@dataclass(frozen=True, kw_only=True)
class RandomConfig(StrategyConfig):
    """Chooses rows at random: what the others have to beat, and the only choice that leaves scores unbiased."""

    type: Literal["random"] = "random"

    def pick(
        self, learner: Learner, rows: Int[np.ndarray, " rows"], count: int, generator: np.random.Generator
    ) -> Int[np.ndarray, " chosen"]:
        return rows[:count]

"""Reward: a number for a generated text; the higher, the better.

A reward is given the texts as they would be written, and the rows that they are for. A third party adds one through the
entry-point group `polysense.reward`; for one of your own without a package there is `function`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polysense.config.base import Configured, Family
from polysense.core.task_spec import TargetReader
from polysense.errors import ConfigError
from polysense.nn.objectives.base import Beginning

__all__ = ["Reward", "RewardConfig"]


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Family, family="reward", homes=("tasks.generation.rewards.*",)):
    """What a generated text is worth."""

    type: str

    def build(self, beginning: Beginning, reader: TargetReader) -> Reward:
        """Builds the reward for a training that is about to begin.

        Args:
            beginning: The training.
            reader: What the training table's rows hold of the target.

        Raises:
            ConfigError: It can't be had for this table.
        """
        if self.builds is None:
            raise ConfigError(f"the reward {self.type!r} can't be built: no class names its config")
        reward: Reward = self.builds(self, beginning, reader)
        return reward


class Reward(Configured, ABC):
    """A reward of generated texts."""

    needs_references: ClassVar[bool] = False
    """Whether it says nothing of a row without a text of its own."""

    @abstractmethod
    def __call__(self, texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
        """What each text is worth.

        Args:
            texts: As they would be written.
            rows: For each the number of its row in the training table.

        Returns:
            float64 [texts]; NaN where nothing can be said, as of a row without references: such texts teach nothing.
        """

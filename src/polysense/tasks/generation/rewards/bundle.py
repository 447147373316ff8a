"""A trained bundle as a judge: what it predicts of a row in which the text stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polysense.core.task_spec import TargetReader
from polysense.errors import ConfigError
from polysense.nn.objectives.base import Beginning
from polysense.tasks.generation.rewards.base import Reward, RewardConfig

__all__ = ["BundleReward", "BundleRewardConfig"]


@dataclass(frozen=True, kw_only=True)
class BundleRewardConfig(RewardConfig):
    """What a trained bundle predicts, with the text in one of its columns and the row's own cells in the others.

    It may be the probability of a friendly tone, or that a text fits its picture, or a score.

    Attributes:
        path: The bundle.
        column: Its column that the text is put into.
        output: The column of numbers that it predicts, as `polysense predict` names it: "tone_probability[friendly]".
    """

    type: Literal["bundle"] = "bundle"
    path: str
    column: str
    output: str


class BundleReward(Reward, config=BundleRewardConfig):
    """The bundle."""

    def __init__(self, config: BundleRewardConfig, beginning: Beginning, reader: TargetReader) -> None:
        del reader
        self._config, self._score = config, beginning.scorer(config.path)

    def __call__(self, texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
        config = self._config
        predicted = self._score(rows, {config.column: list(texts)})
        cells = predicted.get(config.output)
        if cells is None or not all(cell is None or isinstance(cell, (int, float)) for cell in cells):
            numbers = [
                name
                for name, each in predicted.items()
                if all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in each)
            ]
            raise ConfigError(
                f"reward: {config.path} predicts no numbers in a column {config.output!r}; it predicts them in "
                f"{', '.join(numbers) or 'none'}"
            )
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)

"""A rule that a text keeps or breaks: its length, and patterns that it is to have or not to have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polysense.config.limits import NonNegativeInt
from polysense.core.task_spec import TargetReader
from polysense.errors import ConfigError
from polysense.nn.objectives.base import Beginning
from polysense.tasks.generation.metrics.words import caption_words
from polysense.tasks.generation.rewards.base import Reward, RewardConfig

__all__ = ["Rule", "RuleConfig"]


@dataclass(frozen=True, kw_only=True)
class RuleConfig(RewardConfig):
    """The share of a rule's parts that a text keeps, 0 to 1; or its length.

    Attributes:
        least_words: Words at least; null for any.
        most_words: Words at most; null for any.
        has: Regular expressions that the text is to hold.
        lacks: Regular expressions that it is not to hold.
        per_word: In place of the rest: what each word is worth. A reward that is easily driven too far, to try how a
            training that is would be stopped.
    """

    type: Literal["rule"] = "rule"
    least_words: NonNegativeInt | None = None
    most_words: NonNegativeInt | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    per_word: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for pattern in (*self.has, *self.lacks):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"reward: {pattern!r} is no regular expression: {error}") from None
        parts = (self.least_words, self.most_words, self.has or None, self.lacks or None)
        if all(part is None for part in parts) == (self.per_word == 0.0):
            raise ConfigError("reward: a rule has parts (least_words, most_words, has, lacks) or per_word, one of them")


class Rule(Reward, config=RuleConfig):
    """The rule."""

    def __init__(self, config: RuleConfig, beginning: Beginning, reader: TargetReader) -> None:
        del beginning, reader
        self._config = config

    def __call__(self, texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
        del rows
        return np.array([self._one(text) for text in texts], dtype=np.float64)

    def _one(self, text: str) -> float:
        config, num_words = self._config, len(caption_words(text))
        if config.per_word:
            return config.per_word * num_words
        kept = [re.search(pattern, text) is not None for pattern in config.has]
        kept += [re.search(pattern, text) is None for pattern in config.lacks]
        if config.least_words is not None:
            kept.append(num_words >= config.least_words)
        if config.most_words is not None:
            kept.append(num_words <= config.most_words)
        return sum(kept) / len(kept)

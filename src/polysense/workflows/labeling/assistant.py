"""The assistant: learns from labels in the background, guesses the next ones, and measures what they are worth.

A page never waits for it: whoever asks gets what the last round gave. It learns from rows that are not held out, and is
scored on those that are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from polysense.core.json import JsonValue

__all__ = ["Assistant", "Guess"]


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What a model takes a row's label for.

    Attributes:
        value: The label.
        probability: Of it; None of numbers.
        ranked: The most probable labels with their probabilities, the surest first.
    """

    value: JsonValue
    probability: float | None = None
    ranked: tuple[tuple[str, float], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {"value": self.value, "probability": self.probability, "ranked": [list(pair) for pair in self.ranked]}


class Assistant(ABC):
    """What a session asks; a call returns at once."""

    @abstractmethod
    def begin(self, is_held_out: Bool[np.ndarray, " rows"], labels: Mapping[int, JsonValue]) -> None:
        """Starts with the labels that there are.

        Args:
            is_held_out: Rows that are never learned from.
            labels: By row.
        """

    @abstractmethod
    def learn(self, labels: Mapping[int, JsonValue]) -> None:
        """Takes labels in, to be learned in the background; None takes one away."""

    @abstractmethod
    def suggestions(self) -> Int[np.ndarray, " rows"] | None:
        """Rows that are worth a label, the first one most; None where nothing new is known since the last call."""

    @abstractmethod
    def guess(self, row: int) -> Guess | None:
        """The label that the last round predicts; None before there was one."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The learning curve, and what the last round took, in JSON's types."""

    @abstractmethod
    def close(self) -> None:
        """Ends the background work."""

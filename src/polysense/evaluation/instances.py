"""What tasks share whose answer is several labeled things in an image, each with a score: boxes, masks.

Their row statistics hold `truth`, object [rows], whose first columns are label and kind; `precision` and `quality`, see
`metrics.average_precision.image_scores`; and their metrics are those of `average_precision_metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from polysense.core.metric import Statistics
from polysense.core.schema import Target
from polysense.core.task_spec import Arrays, Contribution, Explained

__all__ = ["InstanceContribution", "SurestScore"]

I = TypeVar("I", bound=Target)  # noqa: E741  # a target of things


class InstanceContribution(Contribution[I]):
    """An image's average precision, and the mean quality of its things, which also sees moves that change no rank.

    A task names the two `measures`.
    """

    is_prior_without_columns = True

    def row_values(self, target: I, statistics: Statistics) -> np.ndarray:
        quality = statistics["quality"]
        each = np.where(quality[:, 1] > 0, quality[:, 0] / np.maximum(quality[:, 1], 1), statistics["precision"])
        return np.column_stack([statistics["precision"], each])


class SurestScore(Explained[I]):
    """The score of the surest thing of a class; of predictions whose first field is the label."""

    def __init__(self, score: int, of: str = "") -> None:
        """Says where the score is.

        Args:
            score: Its field.
            of: What it is of, in the title: "box of ".
        """
        self._score, self._of = score, of

    def choices(self, target: I) -> Sequence[str]:
        return target.classes

    def chosen(self, target: I, prediction: Arrays) -> int:
        first = prediction["values"][0]
        return int(first[first[:, self._score].argmax(), 0])

    def numbers(self, target: I, prediction: Arrays, choice: int) -> np.ndarray:
        values = prediction["values"].astype(np.float64)
        result: np.ndarray = np.where(values[..., 0] == choice, values[..., self._score], 0.0).max(axis=1)
        return result

    def title(self, target: I, choice: int) -> str:
        return f"score of the surest {self._of}{target.classes[choice]!r}"

    def answers(self, target: I, prediction: Arrays, choice: int) -> Sequence[str] | None:
        return None  # something moves with anything

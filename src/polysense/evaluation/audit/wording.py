"""Words for what an audit measured: a score, a change of it and its interval, as sentences have them."""

from __future__ import annotations

from polysense.core.task_spec import Measure
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import amount

__all__ = ["UNTOLD", "change", "is_told", "scored"]

UNTOLD = "The model is not measurably better than guessing, so what it would lose can not be told."
"""Of a model that has nothing to lose."""


def scored(score: Interval) -> str:
    """A score: "0.931 (0.912 to 0.948)"."""
    between = f" ({score.low:.3f} to {score.high:.3f})" if score.has_bounds else ""
    return f"{score.value:.3f}{between}"


def change(measure: Measure, gain: Interval) -> str:
    """A gain or a loss: "−3.1 pp accuracy (−5.0 to −1.2)"."""
    between = f" ({amount(measure, gain.low)} to {amount(measure, gain.high)})" if gain.has_bounds else ""
    return f"{amount(measure, gain.value)} {measure.in_sentence}{between}"


def is_told(difference: Interval) -> bool:
    """Whether an interval leaves out 0."""
    return difference.has_bounds and (difference.low > 0 or difference.high < 0)

"""Records that a task answers an audit with: scores of rows, class probabilities, conformal sets, numbers, mistakes.

An audit knows no task. It asks each for what its row statistics say in one of these forms, or is told why there is
nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

__all__ = ["ClassProbabilities", "ConformalSets", "Mistake", "MistakeGroup", "PredictedNumbers", "RowScore"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RowScore:
    """How good the prediction of each row is, so that the mean over some rows can be compared with that over others.

    Attributes:
        name: For people: "accuracy", "absolute error".
        higher_is_better: The direction.
        is_share: Whether each value is 0 or 1.
        values: Of each row; NaN where it has none, as where the row lacks the target.
    """

    name: str
    higher_is_better: bool
    is_share: bool = False
    values: Float[np.ndarray, " rows"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassProbabilities:
    """Probabilities of classes of which exactly one is true. A row may be judged several times, once for each label.

    Attributes:
        classes: Their names.
        probabilities: Of each judgment.
        truth: The true class of each.
        rows: The position of the row of each.
        judgments: One judgment and several of them, in words: ("row", "rows").
        metrics: The target's metrics that tell how far the probabilities can be believed, by name.
    """

    classes: Sequence[str]
    probabilities: Float[np.ndarray, "judgments classes"]
    truth: Int[np.ndarray, " judgments"]
    rows: Int[np.ndarray, " judgments"]
    judgments: tuple[str, str] = ("row", "rows")
    metrics: Sequence[str] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ConformalSets:
    """Sets or intervals that hold the truth with a stated probability, and whether they do.

    Attributes:
        name: Of what, where a target is several things; else "".
        level: The probability, such as 0.9.
        method: How they are made, with its source.
        covered: Of each row 1 where its set holds the truth, 0 where it does not, NaN where that is not known.
        sizes: Of each row's set; NaN where it has none, infinite where nothing is left out.
        noun: What several are called: "sets", "intervals".
        size: What the sizes are, in words: "classes in a set", "width of an interval".
    """

    name: str = ""
    level: float
    method: str
    covered: Float[np.ndarray, " rows"]
    sizes: Float[np.ndarray, " rows"]
    noun: str
    size: str


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictedNumbers:
    """Numbers beside what was predicted of them.

    Attributes:
        name: Of the number.
        unit: "" if it has none.
        truth: NaN where it is not known.
        predicted: Of each row.
        low: Ends of the predicted intervals; None where none are predicted.
        high: Likewise.
        level: The share of values that the intervals are to hold.
    """

    name: str
    unit: str = ""
    truth: Float[np.ndarray, " rows"]
    predicted: Float[np.ndarray, " rows"]
    low: Float[np.ndarray, " rows"] | None = None
    high: Float[np.ndarray, " rows"] | None = None
    level: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One of them.

    Attributes:
        position: Of its row in the evaluation.
        words: What is wrong and how much: "with probability 0.98".
    """

    position: int
    words: str


@dataclass(frozen=True, kw_only=True)
class MistakeGroup:
    """Mistakes of one kind, the worst first.

    Attributes:
        title: "true class cat, predicted dog".
        total: How many there are, of which these are some.
        mistakes: A few of them.
        note: What else is to be said of them.
        facets: What a page may choose them by, such as the true class and the predicted one; empty: by the title.
    """

    title: str
    total: int
    mistakes: Sequence[Mistake] = field(default_factory=tuple)
    note: str = ""
    facets: Mapping[str, str] = field(default_factory=dict)

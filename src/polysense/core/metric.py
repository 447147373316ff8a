"""Metric: a number's name, direction, range and meaning, stated once; and how its values come from row statistics.

A bootstrap resample is a row of multiplicities: how often each row of the table was drawn. So every sum over rows is a
product with `weights [resamples, rows]`, and whatever depends on the rows alone (sorting scores, grouping classes) is
done once, when a scorer is built, not once per resample.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np

from polysense.core.schema import Target

__all__ = ["ExtraMetric", "Metric", "Scorer", "Statistics", "higher", "lower", "marked"]

Statistics: TypeAlias = Mapping[str, np.ndarray]
"""What predictions leave behind: small arrays with rows first (object arrays where rows are ragged), among them
`present`, bool [rows], the rows that have the target."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric's number means. The direction is stated here and nowhere else.

    Attributes:
        name: The metric's key in metrics.json.
        higher_is_better: The direction.
        bounds: The lowest and the highest value that it can take.
        description: One plain sentence.
        undefined_when: When there is no value (null in JSON), besides "no row has this target".
        reference: The implementation that the tests compare it with; "" where there is none.
        is_share: Whether it is the share of the rows that are right, each of which is or is not.
        is_headline: Whether it is the one that is named first.
        is_selection: Whether the best checkpoint is selected by it, when nobody has said.
        is_finer: Whether comparisons show it beside the one that selects, because it sees smaller differences.
        is_reported: Whether it stands in the report's first table; the others are at its foot and in metrics.json.
        depends_on_fit: Whether it is counted in units that the target was fitted with, as a text's tokens, so that two
            models' values compare only where their targets are fitted alike.
    """

    name: str
    higher_is_better: bool
    bounds: tuple[float, float]
    description: str
    undefined_when: str = ""
    reference: str = ""
    is_share: bool = False
    is_headline: bool = False
    is_selection: bool = False
    is_finer: bool = False
    is_reported: bool = False
    depends_on_fit: bool = False


def higher(
    name: str,
    description: str,
    undefined_when: str = "",
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    is_share: bool = False,
) -> Metric:
    """A metric of which higher is better, by default between 0 and 1."""
    return Metric(
        name=name,
        higher_is_better=True,
        bounds=bounds,
        description=description,
        undefined_when=undefined_when,
        is_share=is_share,
    )


def lower(
    name: str, description: str, undefined_when: str = "", *, bounds: tuple[float, float] = (0.0, math.inf)
) -> Metric:
    """A metric of which lower is better, by default an error or a rate."""
    return Metric(
        name=name, higher_is_better=False, bounds=bounds, description=description, undefined_when=undefined_when
    )


def marked(
    metrics: Iterable[Metric], *, headline: str, selection: str, finer: str, reported: Sequence[str]
) -> tuple[Metric, ...]:
    """Metrics with their roles.

    Args:
        metrics: In the order in which they are reported.
        headline: The name of the one that is named first.
        selection: Of the one that checkpoints are selected by.
        finer: Of the one that stands beside it in comparisons.
        reported: Those of the report's first table.
    """
    every = tuple(metrics)
    names = [metric.name for metric in every]
    assert {headline, selection, finer} <= set(names), f"{headline}, {selection} or {finer} is none of {names}"
    return tuple(
        replace(
            metric,
            is_headline=metric.name == headline,
            is_selection=metric.name == selection,
            is_finer=metric.name == finer,
            is_reported=metric.name in reported,
        )
        for metric in every
    )


class Scorer(ABC):
    """All metrics of one target, for rows that are known to have it."""

    num_scores: int = 0
    """Scores that the ranking metrics sort (rows x classes); what their cost grows with."""

    @abstractmethod
    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample.

        Args:
            weights: float64 [resamples, rows], how often each row counts.
            rankings: Whether to compute what sorts scores (AUROC, average precision) too; it takes most of the time.

        Returns:
            Per metric float64 [resamples]; NaN where the metric is undefined.
        """


class ExtraMetric(ABC):
    """A metric that a package adds to a task, by an entry point in the group `polysense.metric`.

    The entry point's value is an instance or a class without arguments. It is reported like the task's own.
    """

    task: ClassVar[str]
    """The task's name."""

    @abstractmethod
    def describe(self, target: Target) -> Metric | None:
        """What it measures of a target; None: nothing of this one."""

    @abstractmethod
    def score(self, target: Target, statistics: Statistics, weights: np.ndarray) -> np.ndarray:
        """Its value for every resample.

        Args:
            target: What was predicted.
            statistics: The task's row statistics, of the rows that have the target.
            weights: float64 [resamples, rows], how often each row counts.

        Returns:
            float64 [resamples]; NaN where it is undefined.
        """

"""What is measured of a target: its task's metrics, and those that installed packages add to it."""

from __future__ import annotations

from polysense.core.metric import Metric, Statistics
from polysense.core.registry import extra_metrics, task
from polysense.core.schema import Target
from polysense.errors import ConfigError

__all__ = ["finer_metric", "headline_metric", "metrics_of", "reported_metrics", "selection_metric"]


def metrics_of(target: Target, statistics: Statistics | None = None) -> tuple[Metric, ...]:
    """What is measured of a target, in the order in which it is reported.

    Args:
        target: What is predicted.
        statistics: Its row statistics, where they are there; they may decide which metrics are shown first.

    Raises:
        ConfigError: An added metric has the name of another one.
    """
    own = task(target.task).metrics(target, statistics)
    added = [described for extra in extra_metrics(target.task) if (described := extra.describe(target)) is not None]
    names = [metric.name for metric in (*own, *added)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two metrics of the task {str(target.task)!r} are named {name!r}; rename the one that is added"
            )
    return (*own, *added)


def headline_metric(target: Target) -> Metric:
    """The one that is named first."""
    return next(metric for metric in metrics_of(target) if metric.is_headline)


def selection_metric(target: Target) -> Metric:
    """The one to select the best checkpoint by, when nobody has said."""
    return next(metric for metric in metrics_of(target) if metric.is_selection)


def finer_metric(target: Target) -> Metric:
    """The one that sees smaller differences than the one that selects."""
    return next(metric for metric in metrics_of(target) if metric.is_finer)


def reported_metrics(target: Target, statistics: Statistics | None = None) -> tuple[Metric, ...]:
    """The metrics that are read first; the others are in metrics.json and at the foot of the report."""
    return tuple(metric for metric in metrics_of(target, statistics) if metric.is_reported)

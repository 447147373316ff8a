"""Simple models beside a network, as experts of its ensemble and as what it must beat.

For each column with media, texts or series a linear model of its features; for all numbers, categories and dates
together a linear one and boosted trees, which is what such tables are won with; and over everything a linear model and
a forest. So few that some tens of validation rows can weigh them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from polysense.nn.estimators.base import EstimatorConfig
from polysense.nn.estimators.boosting import BoostingEstimatorConfig
from polysense.nn.estimators.forest import ForestEstimatorConfig
from polysense.nn.estimators.linear import LinearEstimatorConfig

__all__ = ["default_estimators"]

_TABULAR = frozenset({"number", "category", "date"})


def default_estimators(inputs: Sequence[tuple[str, str]], with_features: Collection[str]) -> dict[str, EstimatorConfig]:
    """The estimators of an ensemble.

    Args:
        inputs: The columns and their modalities.
        with_features: The columns that have a feature vector.
    """
    known = [(name, kind) for name, kind in inputs if name in with_features]
    others = [name for name, kind in known if kind not in _TABULAR]
    tabular = tuple(name for name, kind in known if kind in _TABULAR)
    estimators: dict[str, EstimatorConfig] = {
        f"linear {name}": LinearEstimatorConfig(columns=(name,)) for name in others
    }
    if tabular:
        name = tabular[0] if len(tabular) == 1 else "tabular"
        estimators[f"linear {name}"] = LinearEstimatorConfig(columns=tabular)
        estimators[f"boosting {name}"] = BoostingEstimatorConfig(columns=tabular)
    if len(others) + bool(tabular) > 1:
        estimators["linear all"] = LinearEstimatorConfig()
    if known:
        estimators["forest all"] = ForestEstimatorConfig()
    return estimators

"""Simple models beside a network, as experts of its ensemble and as what it must beat.

For each column with media, texts or series a linear model of its features; for all numbers, categories and dates
together a linear one and boosted trees, which is what such tables are won with; and over everything a linear model and
a forest. So few that some tens of validation rows can weigh them. A report has one more of each number, category and
date alone, because people ask what that column says; their average leaves these out, since many weak models would only
pull it down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from polysense.nn.estimators.base import EstimatorConfig
from polysense.nn.estimators.boosting import BoostingEstimatorConfig
from polysense.nn.estimators.forest import ForestEstimatorConfig
from polysense.nn.estimators.linear import LinearEstimatorConfig

__all__ = ["MOST_SINGLE", "SimpleModels", "default_baselines", "default_estimators"]

_TABULAR = frozenset({"number", "category", "date"})

MOST_SINGLE = 12
"""Numbers, categories and dates up to which a report has a model of each one alone; of more it would be all table."""


@dataclass(frozen=True, kw_only=True)
class SimpleModels:
    """The simple models that a report compares a model with.

    Attributes:
        joint: By name, those whose average is one more of them.
        single: Likewise those of one number, category or date alone, which are not averaged.
        left_out: What there is none of, and why.
    """

    joint: Mapping[str, EstimatorConfig]
    single: Mapping[str, EstimatorConfig]
    left_out: tuple[str, ...] = ()


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
        estimators[_free(f"linear {name}", estimators)] = LinearEstimatorConfig(columns=tabular)
        estimators[_free(f"boosting {name}", estimators)] = BoostingEstimatorConfig(columns=tabular)
    if len(others) + bool(tabular) > 1:
        estimators[_free("linear all", estimators)] = LinearEstimatorConfig()
    if known:
        estimators["forest all"] = ForestEstimatorConfig()
    return estimators


def default_baselines(inputs: Sequence[tuple[str, str]], with_features: Collection[str]) -> SimpleModels:
    """The simple models of a report.

    Args:
        inputs: The columns and their modalities.
        with_features: The columns that have a feature vector.
    """
    joint = default_estimators(inputs, with_features)
    tabular = [name for name, kind in inputs if name in with_features and kind in _TABULAR]
    single: dict[str, EstimatorConfig] = {}
    left_out = [f"{name}: has no features" for name, _ in inputs if name not in with_features]
    if len(tabular) > MOST_SINGLE:
        left_out.append(f"each of the {len(tabular)} numbers, categories and dates alone: more than {MOST_SINGLE}")
    elif len(tabular) > 1:
        for name in tabular:
            single[_free(f"linear {name}", {**joint, **single})] = LinearEstimatorConfig(columns=(name,))
    return SimpleModels(joint=joint, single=single, left_out=tuple(left_out))


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or where a column is called like what several are, one that is free."""
    while name in taken:
        name = f"{name} (again)"
    return name

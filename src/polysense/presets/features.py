"""Features without weights for every input column that has any."""

from __future__ import annotations

from collections.abc import Sequence

from polysense.config.codec import from_dict
from polysense.core import registry
from polysense.core.role import Role
from polysense.data.features import FeatureConfig
from polysense.data.roles.profile import ColumnGuess

__all__ = ["default_features", "features_of"]


def default_features(guesses: Sequence[ColumnGuess], num_rows: int) -> dict[str, tuple[FeatureConfig, ...]]:
    """`data.features` of a recipe.

    Args:
        guesses: What each column is.
        num_rows: Rows of the table.
    """
    inputs = [(g.name, g.modality) for g in guesses if g.role is Role.INPUT and g.modality is not None]
    return features_of(inputs, num_rows)


def features_of(inputs: Sequence[tuple[str, str]], num_rows: int) -> dict[str, tuple[FeatureConfig, ...]]:
    """Likewise of columns whose modalities are known."""
    features = {}
    for name, kind in inputs:
        plain = registry.modality(kind).default_features(num_rows)
        features[name] = tuple(from_dict(FeatureConfig, dict(each), where=f"data.features.{name}") for each in plain)
    return {name: configs for name, configs in features.items() if configs}

"""Features without weights for every input column that has any."""

from __future__ import annotations

from collections.abc import Sequence

from polysense.config.codec import from_dict
from polysense.core import registry
from polysense.core.role import Role
from polysense.data.features import FeatureConfig
from polysense.data.roles.profile import ColumnGuess

__all__ = ["default_features"]


def default_features(guesses: Sequence[ColumnGuess], num_rows: int) -> dict[str, tuple[FeatureConfig, ...]]:
    """`data.features` of a recipe.

    Args:
        guesses: What each column is.
        num_rows: Rows of the table.
    """
    features = {}
    for guess in guesses:
        if guess.role is Role.INPUT and guess.modality is not None:
            where = f"data.features.{guess.name}"
            plain = registry.modality(guess.modality).default_features(num_rows)
            features[guess.name] = tuple(from_dict(FeatureConfig, dict(each), where=where) for each in plain)
    return {name: configs for name, configs in features.items() if configs}

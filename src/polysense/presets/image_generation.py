"""What generated images ask of a recipe: long training, and an average of the weights over many steps.

A rectified flow goes on getting better long after its loss has stopped to fall fast, and the weights of single steps
make images of changing color; an average over many steps does not (Karras et al., "Analyzing and Improving the Training
Dynamics of Diffusion Models", CVPR 2024, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.roles.profile import ColumnGuess
from polysense.presets.steps import Length, training_of
from polysense.recipe import Recipe

__all__ = ["for_image_generation"]

_EMA = 0.999


def for_image_generation(recipe: Recipe, guesses: Sequence[ColumnGuess], length: Length, num_rows: int) -> Recipe:
    """The recipe, changed where images are generated; else as it is.

    Args:
        recipe: Of the table.
        guesses: What each column is.
        length: Of the preset.
        num_rows: Training rows.
    """
    if not any(guess.role is Role.TARGET and guess.task == "image_generation" for guess in guesses):
        return recipe
    return replace(recipe, training=training_of(num_rows, length, ema=_EMA))

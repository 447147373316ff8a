"""What a recipe for restoring columns has otherwise: there is no target column, and no cell is hidden from the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.infer import ColumnGuess
from polysense.errors import ColumnError
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.recipe import Recipe
from polysense.tasks.reconstruction.heads.reconstruction import ReconstructionHeadConfig
from polysense.tasks.reconstruction.target import ReconstructionTargetConfig

__all__ = ["RECONSTRUCTION", "for_reconstruction"]

RECONSTRUCTION = "reconstruction"
"""The target's name in such a recipe."""

_HIDDEN = 0.15


def for_reconstruction(recipe: Recipe, guesses: Sequence[ColumnGuess], named: Sequence[str]) -> Recipe:
    """The recipe with its columns to be restored, and no other target.

    Args:
        recipe: Of the columns, without a target.
        guesses: What each column is.
        named: The columns that are to be restored, from all of them; if none are named, all.

    Raises:
        ColumnError: A named column is no input.
    """
    inputs = tuple(recipe.data.columns)
    for name in named:
        if name not in inputs:
            result = next((guess.reason for guess in guesses if guess.name == name), "there is no such column")
            raise ColumnError(f"column {name!r} can't be restored ({result}); say what it is, as --column {name}=text")
    several = sum(guess.role is Role.INPUT for guess in guesses) > 1
    return replace(
        recipe,
        # A cell that the augmentation hides is hidden from the loss too; the head's `hide` asks for it back.
        data=replace(
            recipe.data,
            targets={RECONSTRUCTION: ReconstructionTargetConfig(columns=tuple(dict.fromkeys(named)) or inputs)},
            modality_dropout=0.0,
        ),
        model=replace(
            recipe.model,
            fusion=ConcatFusionConfig(),
            heads={RECONSTRUCTION: ReconstructionHeadConfig(hide=_HIDDEN if several else 0.0)},
            objectives={},
        ),
    )

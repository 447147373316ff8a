"""Recipes of tasks that no column is the target of: input columns are brought together, or given back."""

from __future__ import annotations

from collections.abc import Sequence

from polysense.core.registry import tasks
from polysense.data.infer import ColumnGuess
from polysense.errors import ConfigError
from polysense.presets.contrastive import for_contrast, members_only
from polysense.presets.reconstruction import for_reconstruction
from polysense.recipe import Recipe

__all__ = ["inputs_for", "recipe_without_target"]


def inputs_for(task: str, guesses: Sequence[ColumnGuess], named: Sequence[str]) -> list[ColumnGuess]:
    """The guesses with every input left out that the task does not read.

    Args:
        task: One without a column of its own.
        guesses: What each column is.
        named: The columns that the user named.

    Raises:
        ColumnError: A named column is no input, or too few are left.
    """
    return members_only(guesses, named) if tasks()[task].embeds_columns else list(guesses)


def recipe_without_target(
    task: str, recipe: Recipe, guesses: Sequence[ColumnGuess], named: Sequence[str], num_rows: int
) -> Recipe:
    """The recipe with the task's target.

    Args:
        task: One without a column of its own.
        recipe: Of the columns, without a target.
        guesses: What each column is.
        named: The columns that the user named.
        num_rows: Rows of the table.

    Raises:
        ConfigError: The task has no preset.
        ColumnError: A named column is no input.
    """
    spec = tasks()[task]
    if spec.embeds_columns:
        return for_contrast(recipe, num_rows)
    if spec.reconstructs_columns:
        return for_reconstruction(recipe, guesses, named)
    raise ConfigError(f"task: there is no preset of {task!r}; write a recipe with a target of that type")

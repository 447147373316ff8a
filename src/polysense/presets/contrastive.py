"""What a recipe for a shared space has otherwise: there is no target column, and a batch is what one learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.infer import ColumnGuess
from polysense.errors import ColumnError
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.recipe import Recipe
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig
from polysense.tasks.retrieval.target import ContrastiveTargetConfig

__all__ = ["SPACE", "for_contrast", "members_only"]

SPACE = "embedding"
"""The target's name in such a recipe."""

_TOLD_APART = ("text", "image", "audio", "video")


def members_only(guesses: Sequence[ColumnGuess], named: Sequence[str]) -> list[ColumnGuess]:
    """The guesses with every input left out that is not to share the space.

    Args:
        guesses: What each column is.
        named: The columns that are to share it; if none are named, all texts, pictures, sounds and videos.

    Raises:
        ColumnError: A named column is no input, or fewer than two columns are left.
    """
    inputs = {guess.name: guess for guess in guesses if guess.role is Role.INPUT}
    for name in named:
        if name not in inputs:
            result = next((guess.reason for guess in guesses if guess.name == name), "there is no such column")
            raise ColumnError(
                f"column {name!r} can't share a space ({result}); say what it is, as --column {name}=text"
            )
    members = list(named) or [name for name, guess in inputs.items() if guess.modality in _TOLD_APART]
    if len(set(members)) < 2:
        kinds = ", ".join(f"{name} ({guess.modality})" for name, guess in inputs.items())
        raise ColumnError(
            f"a shared space needs two columns; found {', '.join(members) or 'none'}. Name them, as --target photo "
            f"--target caption, or say what a column is with --column NAME=KIND (inputs: {kinds or 'none'})"
        )
    aside = "ignored: it is not among the columns that share the space"
    return [
        replace(guess, role=Role.IGNORED, reason=aside) if guess.name in inputs and guess.name not in members else guess
        for guess in guesses
    ]


def for_contrast(recipe: Recipe, num_rows: int) -> Recipe:
    """The recipe with all of its columns in one space, and no other target.

    Args:
        recipe: Of the columns, without a target.
        num_rows: Rows of the table; more rows bear larger batches, and with them more to tell a row from.
    """
    columns = tuple(recipe.data.columns)
    return replace(
        recipe,
        # A hidden cell is a pair less.
        data=replace(recipe.data, targets={SPACE: ContrastiveTargetConfig(columns=columns)}, modality_dropout=0.0),
        model=replace(recipe.model, fusion=ConcatFusionConfig(), heads={SPACE: ContrastiveHeadConfig()}, objectives={}),
        training=replace(recipe.training, batch_size=64 if num_rows < 2_000 else 128 if num_rows < 50_000 else 256),
    )

"""Recipes of tasks that no column is the target of: input columns are brought together, or given back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from polysense.core.registry import tasks
from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig
from polysense.errors import ColumnError, ConfigError
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.encoder import EncoderConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.head import HeadConfig
from polysense.presets.ranking import RANKING, for_ranking, ranking_inputs
from polysense.recipe import Recipe
from polysense.tasks.reconstruction.heads.reconstruction import ReconstructionHeadConfig
from polysense.tasks.reconstruction.target import ReconstructionTargetConfig
from polysense.tasks.retrieval.heads.contrastive import ContrastiveHeadConfig
from polysense.tasks.retrieval.target import ContrastiveTargetConfig

__all__ = ["RECONSTRUCTION", "SPACE", "inputs_for", "recipe_without_target"]

SPACE, RECONSTRUCTION = "embedding", "reconstruction"
"""The targets' names in such recipes."""

_DISTINGUISHABLE = ("text", "image", "audio", "video")
_HIDDEN = 0.15


def inputs_for(task: str, guesses: Sequence[ColumnGuess], named: Sequence[str], table: Table) -> list[ColumnGuess]:
    """The guesses with every input left out that the task does not read.

    Args:
        task: One without a column of its own.
        guesses: What each column is.
        named: The columns that the user named; if none, a joint space has all texts, images, audio and videos.
        table: The rows.

    Raises:
        ColumnError: A named column is no input, or fewer than two columns are left for a joint space.
    """
    if task == RANKING:
        return ranking_inputs(table, guesses, named)
    if not tasks()[task].embeds_columns:
        return list(guesses)
    inputs = {guess.name: guess for guess in guesses if guess.role is Role.INPUT}
    _check_inputs(named, inputs, guesses, "share a space")
    members = list(named) or [name for name, guess in inputs.items() if guess.modality in _DISTINGUISHABLE]
    if len(set(members)) < 2:
        kinds = ", ".join(f"{name} ({guess.modality})" for name, guess in inputs.items())
        raise ColumnError(
            f"a joint embedding space needs two columns; found {', '.join(members) or 'none'}. Name them, as --target "
            f"photo --target caption, or say what a column is with --column NAME=KIND (inputs: {kinds or 'none'})"
        )
    aside = "ignored: it is not among the columns of the joint space"
    return [
        replace(guess, role=Role.IGNORED, reason=aside) if guess.name in inputs and guess.name not in members else guess
        for guess in guesses
    ]


def recipe_without_target(
    task: str, recipe: Recipe, guesses: Sequence[ColumnGuess], named: Sequence[str], table: Table
) -> Recipe:
    """The recipe with the task's target, and no other.

    Args:
        task: One without a column of its own.
        recipe: Of the columns, without a target.
        guesses: What each column is.
        named: The columns that the user named.
        table: The rows; more rows bear larger batches, and with them more to tell a row from.

    Raises:
        ConfigError: The task has no preset.
        ColumnError: A named column is no input.
    """
    if task == RANKING:
        return for_ranking(recipe, table, named)
    spec, inputs, num_rows = tasks()[task], tuple(recipe.data.columns), len(table)
    name: str
    head: HeadConfig
    target: TargetConfig
    if spec.embeds_columns:
        name, head, target = SPACE, ContrastiveHeadConfig(), ContrastiveTargetConfig(columns=inputs)
        batch_size = 64 if num_rows < 2_000 else 128 if num_rows < 50_000 else 256
        recipe = replace(recipe, training=replace(recipe.training, batch_size=batch_size))
    elif spec.reconstructs_columns:
        _check_inputs(named, inputs, guesses, "be reconstructed")
        several = sum(guess.role is Role.INPUT for guess in guesses) > 1
        name, head = RECONSTRUCTION, ReconstructionHeadConfig(cell_mask_rate=_HIDDEN if several else 0.0)
        target = ReconstructionTargetConfig(columns=tuple(dict.fromkeys(named)) or inputs)
        # What is reconstructed is a cell as its encoder reads it: a backbone's 224 pixels and 30,000 tokens cost ten
        # times the table's own, and say no more of them.
        encoders = {key: _from_scratch(encoder) for key, encoder in recipe.model.encoders.items()}
        recipe = replace(recipe, model=replace(recipe.model, encoders=encoders))
    else:
        raise ConfigError(f"task: there is no preset of {task!r}; write a recipe with a target of that type")
    return replace(
        recipe,
        # A masked cell is a pair less, and masked in the reconstruction's loss; the head's `cell_mask_rate` masks it
        # as a target.
        data=replace(recipe.data, targets={name: target}, modality_dropout=0.0),
        model=replace(recipe.model, fusion=ConcatFusionConfig(), heads={name: head}, objectives={}),
    )


def _from_scratch(encoder: EncoderConfig) -> EncoderConfig:
    return encoder.scratch or encoder if isinstance(encoder, AutoEncoderConfig) else encoder


def _check_inputs(named: Sequence[str], inputs: Collection[str], guesses: Sequence[ColumnGuess], verb: str) -> None:
    for name in named:
        if name not in inputs:
            reason = next((guess.reason for guess in guesses if guess.name == name), "there is no such column")
            raise ColumnError(f"column {name!r} can't {verb} ({reason}); say what it is, as --column {name}=text")

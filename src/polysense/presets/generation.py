"""What generated texts ask of a recipe: a language model where one is at hand that can be told of images and sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.roles.profile import ColumnGuess
from polysense.recipe import Recipe
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.heads.generator import GeneratorHeadConfig

__all__ = ["for_generation"]

_MEDIA = ("image", "audio", "video")


def for_generation(recipe: Recipe, guesses: Sequence[ColumnGuess]) -> Recipe:
    """The recipe, changed where a text is generated from media, alone or with other columns; else as it is.

    Of texts alone the decoder from scratch translates; whether a language model that reads another's tokens of a text
    does it better has not been measured.
    """
    if not any(guess.role is Role.INPUT and guess.modality in _MEDIA for guess in guesses):
        return recipe
    heads = {
        name: GeneratorHeadConfig(scratch=head) if isinstance(head, GenerationHeadConfig) else head
        for name, head in recipe.model.heads.items()
    }
    return replace(recipe, model=replace(recipe.model, heads=heads))

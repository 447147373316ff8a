"""What generated texts ask of a recipe: a language model where one is at hand that can be told of images and sounds,
and losses that make encoders look at their columns.

A decoder gives an encoder that is trained from scratch little gradient: on easy_vqa (20,000 questions about pictures of
32 pixels, three epochs) it stayed at what the question tells alone, an accuracy of 0.67. The bag of the answer's
tokens, told by the fused summary and by each column alone, took the same decoder to 0.80 (`bag_of_tokens`,
`objectives.unimodal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.roles.profile import ColumnGuess
from polysense.nn.head import HeadConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.recipe import Recipe
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.heads.generator import GeneratorHeadConfig

__all__ = ["for_generation"]

_MEDIA = ("image", "audio", "video")
_BAG_WEIGHT = 0.5


def for_generation(recipe: Recipe, guesses: Sequence[ColumnGuess]) -> Recipe:
    """The recipe, changed where a text is generated from media, alone or with other columns; else as it is.

    Of texts alone the decoder from scratch translates; whether a language model that reads another's tokens of a text
    does it better has not been measured.
    """
    if not any(guess.role is Role.INPUT and guess.modality in _MEDIA for guess in guesses):
        return recipe
    is_mixed = sum(guess.role is Role.INPUT for guess in guesses) > 1
    heads: dict[str, HeadConfig] = {}
    for name, head in recipe.model.heads.items():
        if isinstance(head, GenerationHeadConfig):
            heads[name] = GeneratorHeadConfig(scratch=replace(head, bag_weight=_BAG_WEIGHT if is_mixed else 0.0))
        else:
            heads[name] = head
    objectives = dict(recipe.model.objectives)
    if is_mixed and heads != recipe.model.heads:
        objectives["unimodal"] = UnimodalConfig()
    return replace(recipe, model=replace(recipe.model, heads=heads, objectives=objectives))

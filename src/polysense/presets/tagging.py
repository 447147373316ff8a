"""What labeled segments ask of a recipe: tokens of the right column that know of their neighbors and stay put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polysense.core.role import Role
from polysense.data.roles.profile import ColumnGuess
from polysense.modalities.audio.augment import AudioTransformConfig
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.audio.encoders.transformer import AudioTransformerConfig
from polysense.modalities.text.augment import TextTransformConfig
from polysense.modalities.text.column import TextColumnConfig
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig
from polysense.nn.objectives.unimodal import UnimodalConfig
from polysense.recipe import Recipe
from polysense.tasks.tagging.target import TaggingTargetConfig

__all__ = ["for_tagging"]

_GENERATED = ("generation", "tagging")


def for_tagging(recipe: Recipe, guesses: Sequence[ColumnGuess], num_layers: int) -> Recipe:
    """The recipe, changed where a target is segments, with so many blocks over an audio clip's frames; else as it
    is."""
    requested = [guess for guess in guesses if guess.role is Role.TARGET and guess.task == "tagging"]
    if not requested:
        return recipe
    inputs = {guess.name: guess for guess in guesses if guess.role is Role.INPUT}
    positions = [name for name, guess in inputs.items() if guess.modality in ("text", "audio")]
    columns, targets, transforms = dict(recipe.data.columns), dict(recipe.data.targets), dict(recipe.data.transforms)
    encoders = dict(recipe.model.encoders)
    for guess in requested:
        over = guess.over or (positions[0] if len(positions) == 1 else None)
        target = targets[guess.name]
        assert isinstance(target, TaggingTargetConfig)
        targets[guess.name] = replace(target, over=over)
        if over is None or over not in columns:
            continue
        column, transform = columns[over], transforms.get(over)
        if isinstance(column, TextColumnConfig) and inputs[over].multiple:
            columns[over] = replace(column, words=True)
        # What is left out or put in front would move the segments.
        if isinstance(transform, TextTransformConfig):
            del transforms[over]
        elif isinstance(transform, AudioTransformConfig):
            transforms[over] = replace(transform, shift=0.0)
        encoder = encoders[over]
        if isinstance(encoder, AutoEncoderConfig) and isinstance(encoder.scratch, AudioCNNConfig):
            # A token for 80 ms, where this one has 40.
            encoders[over] = replace(encoder, scratch=AudioTransformerConfig(num_layers=num_layers))
    generated = all(guess.task in _GENERATED for guess in guesses if guess.role is Role.TARGET)
    heads = recipe.model.heads
    return replace(
        recipe,
        data=replace(recipe.data, columns=columns, targets=targets, transforms=transforms),
        model=replace(
            recipe.model,
            encoders=encoders,
            fusion=TransformerFusionConfig(),
            heads={name: head.head if isinstance(head, EnsembleHeadConfig) else head for name, head in heads.items()},
            objectives={} if generated else {"unimodal": UnimodalConfig()},
        ),
    )

"""The choice of encoders: each `encoder: auto` of a recipe made the one that it stands for on this machine, and why;
then of the heads that depend on it.

A recipe that nobody wrote has `auto` in every column that may have a backbone. Keys of encoders that a user overrides
(`model.encoders.photo.channels=32`) are those of the encoder that is chosen; if only the one trained from scratch has
them, the override is a vote for that one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from polysense.config.overrides import apply_overrides
from polysense.core.logs import get_logger
from polysense.core.registry import modality
from polysense.data.recipe_paths import PRETRAINED_WORDS
from polysense.data.tables.sources import Table
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.circumstances import Circumstances
from polysense.nn.encoder import EncoderConfig
from polysense.nn.head import HeadConfig
from polysense.recipe import Recipe

__all__ = ["choose_encoders", "log_choices", "still_true", "with_early"]

_LOOKED_AT = 500  # cells, for the language of texts

_log = get_logger("polysense.workflows")

Choices = Mapping[str, tuple[EncoderConfig | HeadConfig, str]]


def choose_encoders(recipe: Recipe, table: Table, overrides: Sequence[str] = ()) -> tuple[Recipe, Choices]:
    """The recipe with each `encoder: auto`, and each head that depends on one, made what it stands for here.

    Args:
        recipe: With overrides applied, or without.
        table: Its table.
        overrides: Those that are still to be applied.

    Returns:
        The recipe; and per column and target for which something was chosen what it is, and the reason.
    """
    config = recipe.training
    on_gpu = config.device in ("auto", "cuda") and torch.cuda.is_available()
    here = Circumstances(pretrained=recipe.pretrained, num_rows=len(table), on_gpu=on_gpu)
    touched = _touched(overrides, "encoders")
    choices: dict[str, tuple[EncoderConfig | HeadConfig, str]] = {}
    encoders = dict(recipe.model.encoders)
    for name, encoder in recipe.model.encoders.items():
        if isinstance(encoder, AutoEncoderConfig):
            column = recipe.data.columns[name]
            source = column.source(name)
            is_read = table.has(source) and not modality(column.modality).is_file
            cells = table.cells(source)[:_LOOKED_AT] if is_read else ()
            chosen, why = encoder.resolve(column.modality, cells, here)
            keys = {key for key in touched.get(name, ()) if key not in _keys(chosen)}
            if keys and encoder.scratch is not None and keys <= _keys(encoder.scratch):
                scratch = dataclasses.replace(here, pretrained="off")
                chosen, _ = encoder.resolve(column.modality, cells, scratch)
                why = f"{chosen.type}, trained from scratch: an override names its {', '.join(sorted(keys))}"
            choices[name] = chosen, why
            encoders[name] = chosen
    heads = dict(recipe.model.heads)
    touched = _touched(overrides, "heads")
    for name, head in recipe.model.heads.items():
        sources = [source for source in recipe.data.targets[name].sources(name) if table.has(source)]
        cells = table.cells(sources[0], literal=True)[:_LOOKED_AT] if sources else ()
        resolved, why = head.resolve(encoders, here, cells)
        if keys := {key for key in touched.get(name, ()) if key not in _keys(resolved)}:
            resolved, _ = head.resolve({}, dataclasses.replace(here, pretrained="off"))
            why = f"{resolved.type}, trained from scratch: an override names its {', '.join(sorted(keys))}"
        if resolved != head:
            choices[name] = resolved, why
            heads[name] = resolved
    model = dataclasses.replace(recipe.model, encoders=encoders, heads=heads)
    return dataclasses.replace(recipe, model=model), choices


def with_early(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with those overrides applied that the choice of encoders depends on."""
    early = [each for each in overrides if each.partition("=")[0].strip() in ("pretrained", "training.device")]
    return recipe.with_overrides(early)


def still_true(choices: Choices, recipe: Recipe) -> dict[str, str]:
    """The reasons of the choices that a complete recipe has."""
    current = {**recipe.model.encoders, **recipe.model.heads}
    return {name: why for name, (chosen, why) in choices.items() if current.get(name) == chosen}


def log_choices(reasons: Mapping[str, str], recipe: Recipe) -> None:
    """Says which encoder each column has and why; warns where a folder was named and nothing in it is used."""
    for name, why in reasons.items():
        _log.info("column %r: %s", name, why)
    is_folder = recipe.pretrained not in PRETRAINED_WORDS
    parts: list[EncoderConfig | HeadConfig] = [*recipe.model.encoders.values(), *recipe.model.heads.values()]
    if is_folder and not any(each.framework for each in parts):
        listed = "".join(f"\n  {name}: {why}" for name, why in reasons.items())
        _log.warning("no column uses a model of %s%s", recipe.pretrained, listed)


def _touched(overrides: Sequence[str], part: str) -> dict[str, set[str]]:
    """Per column the keys of its encoder, or per target those of its head, that overrides set."""
    model = apply_overrides({}, overrides).get("model")
    parts = model.get(part) if isinstance(model, dict) else None
    each: Mapping[str, Any] = parts if isinstance(parts, dict) else {}
    return {name: set(keys) for name, keys in each.items() if isinstance(keys, dict) and "type" not in keys}


def _keys(config: EncoderConfig | HeadConfig) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}

"""The model's part of a recipe, and how it becomes a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from polysense.config.base import Config
from polysense.config.limits import PositiveInt
from polysense.core.device import is_out_of_memory
from polysense.core.error_text import first_line
from polysense.core.schema import Requirements, Schema
from polysense.errors import ConfigError, UserError
from polysense.nn.encoder import EncoderConfig
from polysense.nn.fusion import FusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.head import HeadConfig
from polysense.nn.model import MultimodalModel
from polysense.nn.objectives.base import Blueprint, ObjectiveConfig
from polysense.nn.objectives.encoder_losses import EncoderLosses

__all__ = ["ModelConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The model: one encoder per input column, one fusion, one head per target, and additional objectives.

    Attributes:
        width: Width of the tokens that pass between the parts.
        encoders: Per input column, how it becomes tokens.
        fusion: How the columns are joined.
        heads: Per target, how it is read.
        objectives: Additional losses, by a name of your choice, which the log shows.
        missing: How an absent column is represented: "masked": not at all, or "learned": a learned missing-modality
            embedding.
    """

    replaced: ClassVar[Mapping[str, str]] = {
        "unimodal_loss": "model.objectives={unimodal: {type: unimodal, weight: 0.5}}",
        "ranking_loss": "model.objectives={ranking: {type: ranking, weight: 0.5}}",
    }
    width: PositiveInt = 128
    encoders: Mapping[str, EncoderConfig] = field(default_factory=dict)
    fusion: FusionConfig = field(default_factory=GatedFusionConfig)
    heads: Mapping[str, HeadConfig] = field(default_factory=dict)
    objectives: Mapping[str, ObjectiveConfig] = field(default_factory=dict)
    missing: Literal["masked", "learned"] = "masked"

    def requirements(self, modalities: Mapping[str, str]) -> dict[str, Requirements]:
        """Per column, what its encoder asks of the preprocessing.

        Args:
            modalities: Of the columns.
        """
        for name, encoder in self.encoders.items():
            encoder.check_modality(name, modalities[name])
        return {name: encoder.requirements(name, modalities[name]) for name, encoder in self.encoders.items()}

    def target_requirements(self) -> dict[str, Requirements]:
        """Per target, what its head asks of the preprocessing."""
        return {name: head.requirements(name) for name, head in self.heads.items()}

    def build(self, schema: Schema, resources: Path | None = None) -> MultimodalModel:
        """Builds the model.

        Args:
            schema: The fitted columns and targets.
            resources: The folder that `save_resources` wrote, where a bundle is loaded.

        Raises:
            ConfigError: A column has no encoder, a target no head, or one that can't serve it.
        """
        targets = tuple(target.name for target in schema.targets)
        for kind, names, given in (("encoder", schema.names, self.encoders), ("head", targets, self.heads)):
            for name in names:
                if name not in given:
                    raise ConfigError(f"model.{kind}s: {name!r} has no {kind} (given: {', '.join(given) or 'none'})")
            for name in given:
                if name not in names:
                    raise ConfigError(f"model.{kind}s.{name}: no such column among {', '.join(names)}")
        encoders = []
        for index, column in enumerate(schema.columns):
            with _built(f"model.encoders.{column.name}"):
                encoders.append(self.encoders[column.name].create(column, self.width, _folder(resources, str(index))))
        with _built("model.fusion"):
            fusion = self.fusion.build(schema.names, self.width)
        heads = []
        for index, target in enumerate(schema.targets):
            with _built(f"model.heads.{target.name}"):
                head = self.heads[target.name].create(target, self.width, _folder(resources, f"head_{index}"))
            head.connect([column for column in schema.columns if column.name not in head.excludes])
            if head.reads_pyramids:
                by_name = dict(zip(schema.names, encoders, strict=True))
                levels = {name: by_name[name].give_pyramid() for name in head.reads_pyramids}
                head.connect_pyramids(levels)
                for name, every in levels.items():
                    by_name[name].read_levels(head.num_levels_read.get(name, len(every)))
            if head.reads_features:
                by_name = dict(zip(schema.names, encoders, strict=True))
                head.connect_features({name: by_name[name].give_features() for name in head.reads_features})
            heads.append(head)
        # Built after the rest, so that an objective leaves every other initial weight as it is.
        blueprint = Blueprint(schema, self.width, self.heads)
        built = {name: each.build(blueprint) for name, each in self.objectives.items() if each.weight > 0}
        objectives = {name: objective for name, objective in built.items() if objective is not None}
        own = EncoderLosses(dict(zip(schema.names, encoders, strict=True)))
        if own.weights:
            objectives["encoders"] = own
        if self.missing == "learned":
            fusion.learn_missing()
        return MultimodalModel(schema, encoders, fusion, heads, objectives)


@contextlib.contextmanager
def _built(where: str) -> Iterator[None]:
    """Within it, settings that torch refuses (a width that the heads don't divide, a rate of 2) are the recipe's."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, RuntimeError, OverflowError, ZeroDivisionError) as error:
        if is_out_of_memory(error):
            raise ConfigError(f"{where}: the model takes more memory than there is; make it smaller") from error
        raise ConfigError(f"{where}: can't be built with these settings: {first_line(error)}") from error


def _folder(resources: Path | None, name: str) -> Path | None:
    return None if resources is None else resources / name

"""Any transformers backbone, by local path or hub name.

The backbone brings its preprocessing along: tokenizer, image size and statistics, sample rate. Frozen, tuned as a
whole, or with the last k blocks open. A bundle keeps the backbone's config and weights, so a trained model never asks
for the original again. With `weights: random` only the architecture is taken, which tells what the weights are worth.

`Pretrained` is what the modalities' own encoders have in common; each says what its backbones ask of the preprocessing
and how they are run (`modalities.*.encoders.pretrained`).
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from polysense.config.limits import NonNegativeFloat, PositiveInt
from polysense.core import registry
from polysense.core.error_text import first_line
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Tokens
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.nn.backbone import BackboneEncoder, BackboneShape, Layers, check_tune, unreached
from polysense.nn.encoder import Draws, EncoderConfig, Items, Lengths
from polysense.nn.pretrained_files import from_pretrained, open_backbone, save_settings

__all__ = ["Pretrained", "PretrainedConfig"]

_SHAPE = "backbone.json"


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig(EncoderConfig):
    """A pretrained transformers model (BERT-like, ViT-like, wav2vec2-like, Whisper, AST, ...).

    Attributes:
        path: A local folder as save_pretrained writes it, or a hub name.
        weights: "pretrained", or "random" for the architecture only: then the folder needs only its config.json, and
            the tokenizer and the image's statistics come from the data.
        tune: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: The backbone's learning rate over the rest's.
        revision: The hub revision; null = the newest.
        layers: Which of its layers are handed on: last; all, one after another, but for the input's embeddings;
            weighted, all in a learned mean (Yang et al., "SUPERB", 2021); or a list of numbers, where 0 is the input's
            embeddings and negative ones count from the last. The first layers know how something sounds or looks, the
            middle ones whose voice it is, the last ones the words. auto is weighted for audio, last for all else.
        max_seconds: Longest segment that a waveform model (wav2vec2-like) processes at once; longer clips are split
            into consecutive segments, since the cost of attention is quadratic in the length.
        padding: What a model of spectrograms of a fixed length (Whisper: 30 s) hears after a shorter clip. own: a
            second of silence, which is not handed on, at the cost of the clip's own length. full: silence up to the
            model's length, as in its own training, handed on with the clip; what a recognizer's decoder needs that is
            not trained.
        pool_to: The most tokens that one item is handed on as; of a longer sequence so many neighbors are averaged.
            null hands all on; auto is 64 for audio, whose backbones have 50 tokens a second, and all for all else. A
            head that reads the backbone's own states (a recognizer's decoder) is given all.
    """

    framework: ClassVar[str] = "transformers"
    needs_processor: ClassVar[bool] = True
    type: Literal["pretrained"] = "pretrained"
    path: str
    weights: Literal["pretrained", "random"] = "pretrained"
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1
    revision: str | None = None
    layers: Literal["auto", "last", "all", "weighted"] | tuple[int, ...] = "auto"
    max_seconds: float = 60.0
    padding: Literal["own", "full"] = "own"
    pool_to: PositiveInt | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        if self.max_seconds <= 0:
            raise ConfigError(f"max_seconds: {self.max_seconds} leaves nothing to hear; give a length above 0")
        check_tune(self.tune, has_weights=self.weights == "pretrained")
        if self.layers == ():
            raise ConfigError("layers: [] hands nothing on; write last")

    @classmethod
    def reads(cls) -> frozenset[str]:
        every = registry.modalities().items()
        return frozenset(name for name, spec in every if not isinstance(spec.pretrained, Unsupported))

    @classmethod
    def loads(cls, settings: Mapping[str, object]) -> bool:
        return "model_type" in settings

    @classmethod
    def knows(cls, name: str) -> bool:
        return True

    @classmethod
    def of_backbone(cls, name: str, options: Mapping[str, Any]) -> PretrainedConfig:
        return cls(path=name, pool_to="auto", **options)

    def build(self, column: Column, width: int, resources: Path | None = None) -> Pretrained:
        self.check(column)
        return _encoder(column.modality).open(self, column, width, resources)

    def requirements(self, column_name: str, modality: str) -> Requirements:
        """Reads the backbone's own config, tokenizer and processor settings.

        Raises:
            WeightsError: They can't be had.
        """
        import transformers

        settings = from_pretrained(transformers.AutoConfig, self.path, self.revision)
        if getattr(settings, "vision_config", None) is not None:
            raise ConfigError(
                f"model.encoders.{column_name}: {self.path} holds a model of several modalities; name its text, image "
                f"or audio part alone (for CLIP, save model.vision_model with save_pretrained and give that folder)"
            )
        return _encoder(modality).requested(self, settings)


def _encoder(modality: str) -> type[Pretrained]:
    path = registry.modality(modality).pretrained
    if isinstance(path, Unsupported):
        raise ConfigError(f"the encoder 'pretrained' takes no {modality} columns: {path}")
    module, _, name = path.rpartition(".")
    encoder: type[Pretrained] = vars(importlib.import_module(module))[name]
    return encoder


class Pretrained(BackboneEncoder):
    """A transformers model, without a decoder.

    Attributes:
        settings: Its config.
        extractor: Its feature extractor, where it needs one.
    """

    usual_layers: ClassVar[Layers] = "last"  # that `layers: auto` stands for
    usual_tokens: ClassVar[int | None] = None  # that `pool_to: auto` stands for
    averages_tokens: ClassVar[bool] = False  # so that there are no more than `pool_to`

    def __init__(
        self,
        config: PretrainedConfig,
        column: Column,
        width: int,
        network: nn.Module,
        shape: BackboneShape,
        settings: Any,
        extractor: Any,
    ) -> None:
        layers = self.usual_layers if config.layers == "auto" else config.layers
        super().__init__(column, width, network, shape, config.tune, config.weights == "pretrained", layers)
        self.config, self.settings, self.extractor = config, settings, extractor

    @classmethod
    def open(cls, config: PretrainedConfig, column: Column, width: int, resources: Path | None) -> Pretrained:
        """Builds the encoder; the arguments are those of `EncoderConfig.build`."""
        import transformers

        if isinstance(config.pool_to, int) and not cls.averages_tokens:
            raise ConfigError(
                f"model.encoders.{column.name}.pool_to: found {config.pool_to}, but tokens of {column.modality} "
                "columns are not averaged; write null"
            )
        path = config.path if resources is None else str(resources)
        settings = from_pretrained(transformers.AutoConfig, path, config.revision)
        cls.adapt(settings, config, column)
        extractor = cls.feature_extractor(settings, config, path)
        has_weights = resources is None and config.weights == "pretrained"
        model = open_backbone(path if has_weights else None, config.revision, settings)
        network = model.get_encoder() if settings.is_encoder_decoder else model
        cls.prepare(network, settings)
        if resources is None:
            shape = cls._measured(network, settings, extractor, column, config.path)
        else:
            shape = BackboneShape.read(resources / _SHAPE)
        return cls(config, column, width, network, shape, settings, extractor)

    @classmethod
    def _measured(cls, network: Any, settings: Any, extractor: Any, column: Column, path: str) -> BackboneShape:
        training = network.training
        try:
            with torch.no_grad():
                layers = cls.blank(network.eval(), settings, extractor, column)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError) as error:
            raise ConfigError(
                f"model.encoders.{column.name}: {path} (a model of the type {settings.model_type}) can't be run on a "
                f"blank item of the column: {first_line(error)}; choose another encoder"
            ) from error
        network.train(training)
        return BackboneShape.of(layers)

    @classmethod
    @abstractmethod
    def blank(cls, network: Any, settings: Any, extractor: Any, column: Column) -> tuple[Tensor, ...]:
        """The layers that a network gives for one blank item, as `layers_of`."""

    @classmethod
    @abstractmethod
    def requested(cls, config: PretrainedConfig, settings: Any) -> Requirements:
        """What a backbone of these settings asks of the column's preprocessing."""

    @classmethod
    def adapt(cls, settings: Any, config: PretrainedConfig, column: Column) -> None:
        """Changes the settings before the backbone is made."""

    @classmethod
    def feature_extractor(cls, settings: Any, config: PretrainedConfig, path: str) -> Any:
        """What makes the backbone's inputs on the device; None where the column's items are these."""
        return None

    @classmethod
    def prepare(cls, network: Any, settings: Any) -> None:
        """Changes the backbone once it is there, before any of it is frozen."""

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of an item; None: as many as the backbone has."""
        if self.gives_pyramid:
            return None
        return self.usual_tokens if self.config.pool_to == "auto" else self.config.pool_to

    @property
    def needs_layers(self) -> bool:
        """Whether more than the last layer is handed on."""
        return self.chosen != (self.shape.num_layers - 1,)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        tokens = self.tokens_of(self.backbone(values, lengths))
        if self.training and not self.frozen:
            # Poolers and the like are not asked; a parameter without a gradient would keep other processes waiting.
            # Only they are touched: a second gradient, of zeros, for all of BERT would cost a tenth of the step.
            for parameter in unreached(tokens.values, self.network.parameters()):
                tokens = replace(tokens, values=tokens.values + parameter.flatten()[:1].sum() * 0.0)
        return tokens

    def save_resources(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_settings(self.settings, folder)
        self.shape.write(folder / _SHAPE)
        if self.extractor is not None:
            self.extractor.save_pretrained(str(folder))

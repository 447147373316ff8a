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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from polysense.config.limits import NonNegativeFloat
from polysense.core import registry
from polysense.core.error_text import first_line
from polysense.core.json import read_json, write_json
from polysense.core.own_code import OWN_CODE, needs_own_code
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Features, Tokens
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError, WeightsError
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = [
    "BackboneEncoder",
    "Pretrained",
    "PretrainedConfig",
    "first_attribute",
    "from_pretrained",
    "from_settings",
    "open_blocks",
    "save_settings",
    "unreached",
]


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
        max_seconds: Longest segment that a waveform model (wav2vec2-like) processes at once; longer clips are split
            into consecutive segments, since the cost of attention is quadratic in the length.
    """

    framework: ClassVar[str] = "transformers"
    needs_processor: ClassVar[bool] = True
    type: Literal["pretrained"] = "pretrained"
    path: str
    weights: Literal["pretrained", "random"] = "pretrained"
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1
    revision: str | None = None
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.max_seconds <= 0:
            raise ConfigError(f"max_seconds: {self.max_seconds} leaves nothing to hear; give a length above 0")
        if self.weights == "random" and self.tune != "full":
            raise ConfigError(f"tune: {self.tune} with random weights would freeze noise; write `tune: full`")
        if isinstance(self.tune, int) and self.tune < 1:
            raise ConfigError(f"tune: {self.tune} blocks; write `frozen` to open none")

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
        return cls(path=name, **options)

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


def save_settings(settings: Any, folder: Path) -> None:
    """Writes a transformers config as config.json, without what names code beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings.save_pretrained(str(folder))
    plain = read_json(folder / "config.json", dict)
    write_json(folder / "config.json", {key: value for key, value in plain.items() if key != "auto_map"})


def first_attribute(settings: Any, names: tuple[str, ...]) -> Any:
    """The first of these attributes that a transformers config has, or None."""
    return next((getattr(settings, name) for name in names if getattr(settings, name, None) is not None), None)


def from_pretrained(factory: Any, path: str, revision: str | None, **options: Any) -> Any:
    """Loads from a folder or the hub; whatever goes wrong becomes one clear error.

    No code that a folder brings along is run, and nobody is asked whether it may: a folder is data. A folder is loaded
    without the hub.
    """
    local = Path(path).expanduser()
    looks_local = local.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not local.is_dir():
        raise WeightsError(
            f"{path}: {'is a file' if local.exists() else 'no such folder'}; expected a folder written by "
            f"save_pretrained (config.json, model.safetensors, tokenizer or preprocessor files)"
        )
    try:
        where = str(local) if looks_local else path
        return factory.from_pretrained(
            where,
            revision=None if looks_local else revision,
            local_files_only=looks_local,
            trust_remote_code=False,
            **options,
        )
    except Exception as error:
        where = "the folder" if looks_local else "the hub name"
        if needs_own_code(error):
            raise WeightsError(f"can't load {factory.__name__} from {where} {path!r}: {OWN_CODE}") from None
        advice = (
            "check that the folder holds what save_pretrained writes"
            if looks_local
            else "without a network give a local folder instead, or set HF_HOME to a cache that holds it"
        )
        raise WeightsError(
            f"can't load {factory.__name__} from {where} {path!r}: {first_line(error)}; {advice}"
        ) from error


def from_settings(factory: Any, settings: Any, **options: Any) -> Any:
    """A model of a config, with random weights; errors as in `from_pretrained`."""
    try:
        return factory.from_config(settings, trust_remote_code=False, **options)
    except Exception as error:
        named = f"{factory.__name__} of the settings for {getattr(settings, 'model_type', '?')!r}"
        if needs_own_code(error):
            raise WeightsError(f"can't build {named}: {OWN_CODE}") from None
        raise WeightsError(
            f"can't build {named}: {first_line(error)}; check the config.json that it comes from"
        ) from error


def open_blocks(backbone: nn.Module, tune: str | int) -> None:
    """Freezes a backbone, but for all of it ("full") or its last k blocks.

    The blocks are its longest ModuleList (or Sequential) of like modules.

    Raises:
        ConfigError: It has fewer blocks than asked for.
    """
    if tune == "full":
        return
    backbone.requires_grad_(False)
    if isinstance(tune, int):
        lists = [m for m in backbone.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len(m) > 0]
        stacks = [m for m in lists if len({type(block) for block in m}) == 1]
        blocks = max(stacks, key=lambda stack: sum(p.numel() for p in stack.parameters()), default=None)
        if blocks is None or len(blocks) < tune:
            result = 0 if blocks is None else len(blocks)
            raise ConfigError(f"tune: asks for the last {tune} blocks, the backbone has {result}; write `full`")
        for block in list(blocks)[len(blocks) - tune :]:
            block.requires_grad_(True)


def unreached(output: Tensor, parameters: Iterator[nn.Parameter]) -> list[nn.Parameter]:
    """The trainable parameters that a tensor was not computed from."""
    visited: set[Any] = {None}
    nodes: list[Any] = [output.grad_fn]
    reached: set[int] = set()
    while nodes:
        node = nodes.pop()
        if node not in visited:
            visited.add(node)
            reached.add(id(getattr(node, "variable", None)))  # what a leaf's gradient is added to
            nodes.extend(before for before, _ in node.next_functions)
    return [parameter for parameter in parameters if parameter.requires_grad and id(parameter) not in reached]


class BackboneEncoder(Encoder):
    """A pretrained network's last features, projected to the model's width: `project(backbone(items))`.

    Args:
        column: The fitted column.
        width: Width of the tokens to give.
        network: The network.
        hidden: Width of its features.
        tune: "frozen", "full", or how many of its last blocks learn.
        pretrained: Whether it came with weights.

    Attributes:
        frozen: Whether what `backbone` gives for an item never changes: no training moves it, and nothing is random in
            it. Features may then be kept, by the item's content, and `project` trained on them.
    """

    FORWARD_METHODS: ClassVar[tuple[str, ...]] = (*Encoder.FORWARD_METHODS, "backbone", "project")

    def __init__(
        self, column: Column, width: int, network: nn.Module, hidden: int, tune: str | int, pretrained: bool
    ) -> None:
        super().__init__(column, width)
        self.network: Any = network
        self.frozen = tune == "frozen"
        self.pretrained = pretrained
        open_blocks(network, tune)
        self.norm = nn.LayerNorm(hidden)
        self.projection = nn.Linear(hidden, width)

    @abstractmethod
    def run(self, values: Items, lengths: Lengths) -> Tokens:
        """The network's last features, with its feature maps as a pyramid where one is asked for."""

    def backbone(self, values: Items, lengths: Lengths) -> Features:
        """What the network gives for single items."""
        if self.frozen:
            # An extractor: no dropout, whatever mode the model around it is in.
            self.network.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return Features((self.run(values, lengths),))

    def project(self, features: Features) -> Tokens:
        """Tokens of items, from what `backbone` gave."""
        last = features.layers[-1]
        return replace(last, values=self.projection(self.norm(last.values)))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        return self.project(self.backbone(values, lengths))

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        return (p for p in self.network.parameters() if p.requires_grad and self.pretrained)


class Pretrained(BackboneEncoder):
    """A transformers model, without a decoder.

    Attributes:
        settings: Its config.
        extractor: Its feature extractor, where it needs one.
    """

    def __init__(
        self, config: PretrainedConfig, column: Column, width: int, backbone: nn.Module, extractor: Any
    ) -> None:
        model: Any = backbone
        settings: Any = model.config
        network = model.get_encoder() if settings.is_encoder_decoder else model
        self.prepare(network, settings)
        hidden = int(first_attribute(settings, ("hidden_size", "d_model", "dim")) or settings.hidden_sizes[-1])
        super().__init__(column, width, network, hidden, config.tune, config.weights == "pretrained")
        self.config, self.settings, self.extractor = config, settings, extractor

    @classmethod
    def open(cls, config: PretrainedConfig, column: Column, width: int, resources: Path | None) -> Pretrained:
        """Builds the encoder; the arguments are those of `EncoderConfig.build`."""
        import transformers

        path = config.path if resources is None else str(resources)
        settings = from_pretrained(transformers.AutoConfig, path, config.revision)
        cls.adapt(settings, config, column)
        extractor = cls.feature_extractor(settings, config, path)
        if resources is None and config.weights == "pretrained":
            backbone = from_pretrained(transformers.AutoModel, path, config.revision, config=settings)
        else:
            backbone = from_settings(transformers.AutoModel, settings)
        return cls(config, column, width, backbone, extractor)

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

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        features = self.backbone(values, lengths)
        tokens = self.project(features)
        if self.training and not self.frozen:
            # Poolers and the like are not asked; a parameter without a gradient would keep other processes waiting.
            # Only they are touched: a second gradient, of zeros, for all of BERT would cost a tenth of the step.
            for parameter in unreached(features.layers[-1].values, self.network.parameters()):
                tokens = replace(tokens, values=tokens.values + parameter.flatten()[:1].sum() * 0.0)
        return tokens

    def save_resources(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_settings(self.settings, folder)
        if self.extractor is not None:
            self.extractor.save_pretrained(str(folder))

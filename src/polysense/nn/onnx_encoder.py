"""A frozen encoder in ONNX format: the door for networks that neither transformers nor timm has.

Whatever was exported runs: a network of another framework, a company's own, one of a library that nobody wants to
install again. The recipe says what the file does not: how a cell becomes its input, which output is meant, and how its
tokens are pooled. The model is part of the bundle, which then needs onnxruntime and nothing else. It is never tuned,
and runs on the CPU: what has to learn, or to run on a GPU, is better loaded by the library that it comes from.

`OnnxEncoder` is what the modalities' own have in common; each says what its models take (`modalities.*.encoders.onnx`).
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from polysense.config.limits import PositiveInt
from polysense.core import registry
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Tokens
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.nn.backbone import BackboneEncoder, BackboneShape
from polysense.nn.encoder import EncoderConfig, Items, Lengths
from polysense.nn.onnx_file import MODEL, OnnxFile, OnnxInput, OnnxNetwork

__all__ = ["OnnxConfig", "OnnxEncoder", "only_input"]

_MOST_FEATURES = 65_536

_KEYS = ("image_size", "mean", "std", "tokenizer", "max_tokens", "sample_rate")


@dataclass(frozen=True, kw_only=True)
class OnnxConfig(EncoderConfig):
    """A frozen network in ONNX format, of images, texts or audio.

    Attributes:
        path: The .onnx file; files of weights that it names must lie beside it.
        output: The output to take, by its name: [1, size], [1, tokens, size], or of images [1, size, height, width].
            null takes the first.
        pooling: What becomes of several tokens: none keeps them; mean, first (such as a class token) or last leaves
            one.
        image_size: Images: (height, width) in pixels; null where the file itself says it.
        mean: Images: per channel, of pixels scaled to [0, 1], what the network was trained with; (0, 0, 0) with std
            (1, 1, 1) where it standardizes them itself. A network that takes bytes needs none.
        std: Likewise the standard deviation.
        tokenizer: Texts: its tokenizer.json; null takes the one beside the file.
        max_tokens: Texts: the longest sequence that it takes; null where any is taken, or the file says it.
        sample_rate: Audio: samples per second of the waveform, from -1 to 1, that it takes.
    """

    framework: ClassVar[str] = "ONNX"
    type: Literal["onnx"] = "onnx"
    path: str
    output: str | None = None
    pooling: Literal["none", "mean", "first", "last"] = "none"
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    tokenizer: str | None = None
    max_tokens: PositiveInt | None = None
    sample_rate: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.std is not None and not all(value > 0 for value in self.std):
            raise ConfigError(f"std: found {list(self.std)}, expected numbers above 0")

    @classmethod
    def reads(cls) -> frozenset[str]:
        every = registry.modalities().items()
        return frozenset(name for name, spec in every if not isinstance(spec.onnx, Unsupported))

    @property
    def is_frozen(self) -> bool:
        return True

    def build(self, column: Column, width: int, resources: Path | None = None) -> OnnxEncoder:
        self.check(column)
        path = Path(self.path).expanduser() if resources is None else resources / MODEL
        network = OnnxNetwork(OnnxFile.read(path), self.output, Path(self.path).name)
        return _encoder(column.modality)(self, column, width, network)

    def requirements(self, column_name: str, modality: str) -> Requirements:
        """What the file and the recipe say of the preprocessing.

        Raises:
            ConfigError: They say too little, or what is of another modality.
            WeightsError: The file can't be loaded.
        """
        encoder, where = _encoder(modality), f"model.encoders.{column_name}"
        for key in _KEYS:
            if key not in encoder.keys and vars(self)[key] is not None:
                raise ConfigError(f"{where}.{key}: is not for a column of {registry.modality(modality).nouns[1]}")
        path = Path(self.path).expanduser()
        return encoder.requested(self, OnnxNetwork(OnnxFile.read(path), self.output, self.path), path.parent, where)


def _encoder(modality: str) -> type[OnnxEncoder]:
    path = registry.modality(modality).onnx
    if isinstance(path, Unsupported):
        raise ConfigError(f"the encoder 'onnx' takes no {modality} columns: {path}")
    module, _, name = path.rpartition(".")
    encoder: type[OnnxEncoder] = vars(importlib.import_module(module))[name]
    return encoder


class OnnxEncoder(BackboneEncoder):
    """Tokens of a network in ONNX format.

    Attributes:
        keys: Those of the config that it reads, beside path, output and pooling.
    """

    keys: ClassVar[tuple[str, ...]]

    def __init__(self, config: OnnxConfig, column: Column, width: int, network: OnnxNetwork) -> None:
        tokens, _ = _laid(network([self.feed(network, column, self.example(column))])[0], "none")
        if tokens.shape[1] > _MOST_FEATURES:
            raise ConfigError(
                f"{config.path}: a token has {tokens.shape[1]:,} numbers, expected {_MOST_FEATURES:,} at most; name "
                "another output"
            )
        super().__init__(column, width, network, BackboneShape(hidden=tokens.shape[1]), "frozen", True)
        self.config = config
        self._layouts: dict[tuple[int, ...], tuple[int, tuple[int, ...]]] = {}

    @classmethod
    @abstractmethod
    def requested(cls, config: OnnxConfig, network: OnnxNetwork, folder: Path, where: str) -> Requirements:
        """What a model asks of the column's preprocessing.

        Args:
            config: The recipe's.
            network: The model.
            folder: That it lies in.
            where: For errors.
        """

    @staticmethod
    @abstractmethod
    def example(column: Column) -> np.ndarray:
        """An item of a usual length."""

    @staticmethod
    @abstractmethod
    def feed(network: OnnxNetwork, column: Column, item: np.ndarray) -> Mapping[str, np.ndarray]:
        """The model's inputs for an item of the column, which is cut to its own length."""

    def run(self, values: Items, lengths: Lengths) -> tuple[Tokens, ...]:
        items, sizes = values.cpu().numpy(), lengths.tolist()
        present = [index for index, size in enumerate(sizes) if size]
        # Items without a length are whole.
        cut = [items[index, : sizes[index]] if items.ndim == 2 else items[index] for index in present]
        outputs = [_laid(output, self.config.pooling)[0] for output in self._outputs(cut)]
        num_tokens = max([1, *map(len, outputs)])
        grid: tuple[int, ...] = ()
        if items.ndim > 2 or (torch.is_inference_mode_enabled() and len(items) > 1):
            # How many tokens a row has must not depend on the rows beside it.
            num_tokens, grid = self._layout(items.shape[1:], items.dtype)
        result = np.zeros((len(items), num_tokens, self.shape.hidden), dtype=np.float32)
        mask = np.zeros((len(items), num_tokens), dtype=bool)
        for index, output in zip(present, outputs, strict=True):
            result[index, : len(output)], mask[index, : len(output)] = output, True
        device = self.projection.weight.device
        return (Tokens(torch.from_numpy(result).to(device), torch.from_numpy(mask).to(device), grid or (num_tokens,)),)

    def _outputs(self, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs: list[np.ndarray] = self.network([self.feed(self.network, self.column, item) for item in items])
        return outputs

    def _layout(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, tuple[int, ...]]:
        """How many tokens an item has that fills a shape, and their grid."""
        if shape not in self._layouts:
            tokens, grid = _laid(self._outputs([np.zeros(shape, dtype=dtype)])[0], self.config.pooling)
            self._layouts[shape] = len(tokens), grid
        return self._layouts[shape]

    def save_resources(self, folder: Path) -> None:
        self.network.file.save(folder)


def _laid(output: np.ndarray, pooling: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """An output as [tokens, size], and the tokens' grid."""
    grid: tuple[int, ...]
    if output.ndim == 1:
        tokens, grid = output[None], (1,)
    elif output.ndim == 3:
        tokens, grid = np.ascontiguousarray(output.reshape(len(output), -1).T), output.shape[1:]
    elif output.ndim == 2:
        tokens, grid = output, (len(output),)
    else:
        raise ConfigError(f"an output of the shape {[1, *output.shape]} is no encoder's; name another with output")
    if pooling == "none":
        return tokens, grid
    if pooling == "mean":
        return tokens.mean(axis=0, keepdims=True), (1,)
    return (tokens[:1] if pooling == "first" else tokens[-1:]), (1,)


def only_input(network: OnnxNetwork, where: str) -> OnnxInput:
    """The one input of a model that has no other.

    Raises:
        ConfigError: It has others.
    """
    inputs = network.inputs
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs[:10])
        raise ConfigError(f"{where}.path: the model has the inputs {names}, expected one")
    return inputs[0]

"""A network in ONNX format that takes an image: floats or bytes, channels first or last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn, ImageRequirements
from polysense.nn.onnx_encoder import OnnxConfig, OnnxEncoder, only_input
from polysense.nn.onnx_file import OnnxInput, OnnxNetwork

__all__ = ["OnnxImage"]

_CHANNELS = (1, 3)
_FLOATS = ("float32", "float64", "float16")


class OnnxImage(OnnxEncoder):
    """One token for each cell of the output's map, or one for each of its tokens."""

    keys: ClassVar[tuple[str, ...]] = ("image_size", "mean", "std")

    @classmethod
    def requested(cls, config: OnnxConfig, network: OnnxNetwork, folder: Path, where: str) -> ImageRequirements:
        given = only_input(network, where)
        if len(given.shape) != 4 or given.dtype not in (*_FLOATS, "uint8"):
            raise ConfigError(
                f"{where}.path: the model takes {given.dtype} {list(given.shape)}, expected floats or uint8 [1, "
                "channels, height, width] or [1, height, width, channels]"
            )
        last = _is_last(given)
        height, width = given.shape[1:3] if last else given.shape[2:4]
        own = None if height is None or width is None else (height, width)
        size = config.image_size or own
        if size is None:
            raise ConfigError(f"{where}.image_size: the model takes any size; say which, as [224, 224]")
        if own is not None and own != size:
            raise ConfigError(f"{where}.image_size: found {list(size)}, but the model takes {list(own)}")
        channels = (given.shape[3] if last else given.shape[1]) or len(config.mean or (0, 0, 0))
        if given.dtype == "uint8":
            return ImageRequirements(image_size=size, num_channels=channels)
        if config.mean is None or config.std is None:
            raise ConfigError(
                f"{where}: mean and std are needed, as the model was trained; with (0, 0, 0) and (1, 1, 1) it gets "
                "pixels from 0 to 1"
            )
        if not len(config.mean) == len(config.std) == channels:
            raise ConfigError(
                f"{where}: found {len(config.mean)} numbers as mean and {len(config.std)} as std, expected {channels}, "
                "one for each channel that the model takes"
            )
        return ImageRequirements(image_size=size, num_channels=channels, mean=config.mean, std=config.std)

    @staticmethod
    def example(column: Column) -> np.ndarray:
        of = ImageColumn.of(column)
        return np.zeros((of.num_channels, *of.image_size), dtype=np.uint8)

    @staticmethod
    def feed(network: OnnxNetwork, column: Column, item: np.ndarray) -> Mapping[str, np.ndarray]:
        of, given = ImageColumn.of(column), network.inputs[0]
        values = item
        if given.dtype != "uint8":
            mean, std = (np.array(each, dtype=np.float32)[:, None, None] * 255 for each in (of.mean, of.std))
            values = ((item.astype(np.float32) - mean) / std).astype(given.dtype)
        if _is_last(given):
            values = values.transpose(1, 2, 0)
        return {given.name: np.ascontiguousarray(values[None])}


def _is_last(given: OnnxInput) -> bool:
    """Whether channels come last."""
    return given.shape[1] not in _CHANNELS and given.shape[3] in _CHANNELS

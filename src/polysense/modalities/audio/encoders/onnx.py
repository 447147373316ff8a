"""A network in ONNX format that takes a waveform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.audio.record import AudioColumn, AudioRequirements
from polysense.nn.onnx_encoder import OnnxConfig, OnnxEncoder, only_input
from polysense.nn.onnx_file import OnnxNetwork

__all__ = ["OnnxAudio"]

_LEAST_SECONDS = 0.1  # a shorter clip is filled up with silence: networks of strided convolutions need some samples


class OnnxAudio(OnnxEncoder):
    """Tokens along time, as many in a second as the network has."""

    keys: ClassVar[tuple[str, ...]] = ("sample_rate",)

    @classmethod
    def requested(cls, config: OnnxConfig, network: OnnxNetwork, folder: Path, where: str) -> AudioRequirements:
        given = only_input(network, where)
        if given.dtype not in ("float32", "float64", "float16") or len(given.shape) not in (2, 3):
            raise ConfigError(
                f"{where}.path: the model takes {given.dtype} {list(given.shape)}, expected floats [1, samples] or "
                "[1, 1, samples]; spectrograms are to be computed inside the model"
            )
        if given.shape[-1] is not None or (len(given.shape) == 3 and given.shape[1] not in (1, None)):
            raise ConfigError(
                f"{where}.path: the model takes {list(given.shape)}, expected clips of any length, [1, samples] or "
                "[1, 1, samples]; export it with a length that may change (dynamic_shapes of torch.onnx.export)"
            )
        if config.sample_rate is None:
            raise ConfigError(f"{where}.sample_rate: is needed: how many samples a second the model was trained with")
        return AudioRequirements(sample_rate=config.sample_rate)

    @staticmethod
    def example(column: Column) -> np.ndarray:
        return np.zeros(AudioColumn.of(column).sample_rate, dtype=np.int16)

    @staticmethod
    def feed(network: OnnxNetwork, column: Column, item: np.ndarray) -> Mapping[str, np.ndarray]:
        given, least = network.inputs[0], round(_LEAST_SECONDS * AudioColumn.of(column).sample_rate)
        values = np.pad(item, (0, max(least - len(item), 0))).astype(np.float32) / 32768.0
        return {given.name: values.reshape([1] * (len(given.shape) - 1) + [-1]).astype(given.dtype)}

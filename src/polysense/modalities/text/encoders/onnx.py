"""A network in ONNX format that takes a text's token ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.text.record import TextRequirements
from polysense.nn.onnx_encoder import OnnxConfig, OnnxEncoder
from polysense.nn.onnx_file import OnnxNetwork

__all__ = ["OnnxText"]

_IDS = "input_ids"
_KNOWN = (_IDS, "attention_mask", "token_type_ids", "position_ids")


class OnnxText(OnnxEncoder):
    """One token for each of the network's."""

    keys: ClassVar[tuple[str, ...]] = ("tokenizer", "max_tokens")

    @classmethod
    def requested(cls, config: OnnxConfig, network: OnnxNetwork, folder: Path, where: str) -> TextRequirements:
        names = [each.name for each in network.inputs]
        if _IDS not in names or not set(names) <= set(_KNOWN):
            raise ConfigError(
                f"{where}.path: the model has the inputs {', '.join(names[:10])}, expected {_IDS}, and at most "
                f"{', '.join(_KNOWN[1:])} beside it"
            )
        for each in network.inputs:
            if each.dtype not in ("int64", "int32") or len(each.shape) != 2:
                raise ConfigError(
                    f"{where}.path: the model takes {each.name} as {each.dtype} {list(each.shape)}, expected int64 "
                    "or int32 [1, tokens]"
                )
            if each.shape[1] is not None:
                raise ConfigError(
                    f"{where}.path: the model takes texts of {each.shape[1]} tokens alone; export it with a length "
                    "that may change (dynamic_shapes of torch.onnx.export)"
                )
        path = Path(config.tokenizer).expanduser() if config.tokenizer is not None else folder / "tokenizer.json"
        if not path.is_file():
            raise ConfigError(f"{where}.tokenizer: there is no {path}; name the model's tokenizer.json")
        return TextRequirements(tokenizer=str(path), max_tokens=config.max_tokens)

    @staticmethod
    def example(column: Column) -> np.ndarray:
        return np.zeros(8, dtype=np.int32)

    @staticmethod
    def feed(network: OnnxNetwork, column: Column, item: np.ndarray) -> Mapping[str, np.ndarray]:
        values = {
            _IDS: item,
            "attention_mask": np.ones_like(item),
            "token_type_ids": np.zeros_like(item),
            "position_ids": np.arange(len(item)),
        }
        return {each.name: values[each.name][None].astype(each.dtype) for each in network.inputs}

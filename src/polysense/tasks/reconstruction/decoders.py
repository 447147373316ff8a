"""The decoder of a column, which its modality names: how it is reconstructed from a code, and masked in training."""

from __future__ import annotations

import importlib

from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.nn.column_decoder import ColumnDecoder, DecodingLimits

__all__ = ["ColumnDecoder", "DecodingLimits", "column_decoder"]


def column_decoder(column: Column, width: int, limits: DecodingLimits) -> ColumnDecoder:
    """The decoder of a fitted column; a video's is its first frame's.

    Raises:
        ConfigError: The column can't be reconstructed.
    """
    spec = modality(column.modality)
    path = spec.decoder(column)
    if isinstance(path, Unsupported):
        raise ConfigError(
            f"column {column.name!r} can't be reconstructed: {path}; name the other columns under the target's "
            f"`columns`"
        )
    module, _, name = path.rpartition(".")
    decoder: type[ColumnDecoder] = vars(importlib.import_module(module))[name]
    return decoder.create(spec.item_column(column), width, limits)

"""How each kind of column is restored from a code, and hidden in training: one file per kind.

A new kind of column is a `ColumnDecoder` and a line in `column_decoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysense.core.modality import Modality
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.audio.decoder import SoundDecoder
from polysense.modalities.category.decoder import CategoryDecoder
from polysense.modalities.date.decoder import DateDecoder
from polysense.modalities.image.decoder import PixelDecoder
from polysense.modalities.number.decoder import NumberDecoder
from polysense.modalities.text.decoder import TokenDecoder
from polysense.nn.column_decoder import ColumnDecoder

__all__ = ["ColumnDecoder", "DecodingLimits", "column_decoder"]


@dataclass(frozen=True)
class DecodingLimits:
    """How finely and how much of a column is restored.

    Attributes:
        patch_size: Of pictures, in pixels; auto decides by their size.
        max_tokens: Of texts; None decides by the training texts.
        max_seconds: Of sounds; None decides by the training sounds.
        num_mels: Bands of their spectrograms.
    """

    patch_size: int | Literal["auto"] = "auto"
    max_tokens: int | None = None
    max_seconds: float | None = None
    num_mels: int = 64


def column_decoder(column: Column, width: int, limits: DecodingLimits) -> ColumnDecoder:
    """The decoder of a column.

    Args:
        column: The fitted column.
        width: Of the tokens that are read.
        limits: How much of it is restored.

    Raises:
        ConfigError: The column is of a kind that can't be restored.
    """
    match column.modality:
        case Modality.NUMBER:
            return NumberDecoder(column, width)
        case Modality.DATE:
            return DateDecoder(column, width)
        case Modality.CATEGORY:
            return CategoryDecoder(column, width)
        case Modality.IMAGE:
            return PixelDecoder(column, width, limits.patch_size)
        case Modality.TEXT:
            return TokenDecoder(column, width, limits.max_tokens)
        case Modality.AUDIO:
            return SoundDecoder(column, width, limits.max_seconds, limits.num_mels)
        case other:
            raise ConfigError(
                f"column {column.name!r}: a column of type {other} can't be restored; name the other columns under the "
                f"target's `columns`"
            )

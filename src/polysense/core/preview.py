"""A cell as a person sees it: images, audio and texts, small enough to be written into a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import UInt8

__all__ = ["CellPreview", "as_jpeg", "data_uri", "even_positions", "side_by_side"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CellPreview:
    """One cell, ready to be shown.

    Attributes:
        column: Its name.
        texts: Texts, numbers, dates.
        images: JPEG files.
        audio: Files and their media types.
        note: What else is to be said: how many frames, how long, or why there is nothing.
        is_absent: Whether the model has nothing of it.
        stretches: Whether its images may be drawn in any shape: those of audio, since seconds and hertz have no common
            scale.
    """

    column: str
    texts: Sequence[str] = ()
    images: Sequence[bytes] = ()
    audio: Sequence[tuple[bytes, str]] = ()
    note: str = ""
    is_absent: bool = False
    stretches: bool = False


def as_jpeg(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The image's JPEG file."""
    # 20 ms that only those who draw should pay.
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=82)
    return file.getvalue()


def side_by_side(images: list[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "height width 3"]:
    """Images in a row, on gray."""
    height, width = max(image.shape[0] for image in images), sum(image.shape[1] + 2 for image in images)
    canvas = np.full((height, width, 3), 128, dtype=np.uint8)
    left = 0
    for image in images:
        canvas[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + 2
    return canvas


def even_positions(num: int, requested: int) -> list[int]:
    """The middles of `requested` equal stretches of `num` items; all of them where there are no more."""
    requested = min(num, requested)
    return [(2 * i + 1) * num // (2 * requested) for i in range(requested)]


def data_uri(file: bytes, media_type: str) -> str:
    """The file as a URI, so that a page holds it itself."""
    return f"data:{media_type};base64,{base64.b64encode(file).decode('ascii')}"

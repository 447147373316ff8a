"""Pictures of more than 8 bits a channel: which values are black and white.

A sensor of 12 bits is stored in 16, and its brightest pixel is then 4,095 of 65,535: scaled by the container, an X-ray
is nearly black, and 256 levels become 17. So white is what the pictures reach: for whole numbers the next power of two
(4,095), for floats 1, 255, or the highest value there is. A column fits that on its training pictures, once for all of
them, so that brightness means the same in each; a picture by itself is scaled by its own values.

Pillow keeps 16 bits of gray pictures only: of color it drops the lower half. FFmpeg reads those (PNG, TIFF).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile

from polysense.core.logs import get_logger
from polysense.data.media.media import Stream
from polysense.errors import DecodeError

__all__ = ["DEEP_MODES", "DeepRange", "Extent", "deep_array", "extent_of", "scaled"]

DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of more than 8 bits in one channel."""


_log = get_logger("polysense.data.columns")
_FORMATS = {"PNG": "png_pipe", "TIFF": "tiff_pipe"}
_warned: set[tuple[float, float]] = set()
_LAYOUTS = {"RGB": "rgb48le", "RGBA": "rgba64le", "LA": "rgba64le"}


@dataclass(frozen=True)
class Extent:
    """The lowest and highest value of a picture, and whether its values are whole numbers."""

    low: float
    high: float
    is_whole: bool


@dataclass(frozen=True)
class DeepRange:
    """Which values are black and white, (black, white); None where there are no such pictures.

    Attributes:
        whole: Of pictures of whole numbers.
        floats: Of pictures of floats.
    """

    whole: tuple[float, float] | None = None
    floats: tuple[float, float] | None = None

    @staticmethod
    def of(extents: Iterable[Extent]) -> DeepRange:
        """The range of all of some pictures."""
        listed = list(extents)
        return DeepRange(
            _whole([one for one in listed if one.is_whole]), _floats([one for one in listed if not one.is_whole])
        )


def _whole(extents: list[Extent]) -> tuple[float, float] | None:
    if not extents:
        return None
    low, high = min(one.low for one in extents), max(one.high for one in extents)
    if low < 0:
        return low, max(high, low + 1)  # signed, as computed tomographs count: no power of two is a sensor's limit
    return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)


def _floats(extents: list[Extent]) -> tuple[float, float] | None:
    if not extents:
        return None
    low, high = min(one.low for one in extents), max(one.high for one in extents)
    if low >= 0 and high <= 255:
        return 0.0, 1.0 if high <= 1 else 255.0
    return low, high if high > low else low + 1


def extent_of(values: np.ndarray) -> Extent:
    """Of a picture's values.

    Raises:
        DecodeError: Some are no numbers.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DecodeError("has pixels that are not finite numbers (NaN or infinite)")
    return Extent(low, high, bool(np.issubdtype(values.dtype, np.integer)))


def scaled(values: np.ndarray, deep: DeepRange | None) -> np.ndarray:
    """uint8 of any shape; what lies beyond black or white is cut there.

    Args:
        values: Whole numbers or floats.
        deep: The column's; None, or one without such pictures, takes the picture's own.
    """
    extent = extent_of(values)
    known = None if deep is None else deep.whole if extent.is_whole else deep.floats
    own = DeepRange.of([extent])
    low, high = known or own.whole or own.floats or (0.0, 1.0)
    if extent.low < low or extent.high > high:
        _warn(low, high, extent.low, extent.high)
    if extent.is_whole and low == 0 and extent.low >= 0:
        # Rounded, not cut: 65535 / 255 = 257, and the high byte alone would darken.
        white = np.uint64(high)
        clipped = np.minimum(values.astype(np.uint64), white)
        return np.asarray((clipped * np.uint64(255) + white // np.uint64(2)) // white, dtype=np.uint8)
    unit = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
    return np.asarray(np.rint(unit * 255), dtype=np.uint8)


def _warn(low: float, high: float, lowest: float, highest: float) -> None:
    """Once for each column, as far as columns differ in their range."""
    if (low, high) not in _warned:
        _warned.add((low, high))
        _log.warning(
            "an image has values from %g to %g; its column's training images reach from %g to %g, and what lies beyond "
            "is cut to black or white",
            lowest, highest, low, high,
        )  # fmt: skip


def deep_array(image: Image.Image, file: Stream) -> np.ndarray | None:
    """The values of a picture of more than 8 bits a channel; None if it has no more, or FFmpeg can't read it.

    Args:
        image: As Pillow opened it, not loaded.
        file: What it was opened from; its position is kept.

    Returns:
        uint16 [height, width, channels], the last of which is alpha where there are 2 or 4.
    """
    raw = _raw_mode(image)
    layout = _LAYOUTS.get(raw)
    if layout is None:
        return None
    import av

    position = file.tell()
    file.seek(0)
    try:
        with av.open(BytesIO(file.read()), "r", format=_FORMATS[image.format or ""]) as container:
            frame = next(container.decode(video=0))
            if sorted((frame.width, frame.height)) != sorted(image.size):  # Pillow has turned a TIFF's size already
                return None
            values = np.asarray(frame.to_ndarray(format=layout))
            return values[..., [0, 3]] if raw == "LA" else values
    except (av.FFmpegError, OSError, ValueError, StopIteration, MemoryError):
        return None  # Pillow reads the upper half, or says what is wrong
    finally:
        file.seek(position)


def _raw_mode(image: Image.Image) -> str:
    """The channels ("RGB") of a picture of which Pillow would drop the lower half; "" where it would not."""
    if isinstance(image, ImageFile.ImageFile) and image.format in _FORMATS:
        for tile in image.tile:
            arguments = tile[3]
            raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
            if isinstance(raw, str) and raw.partition(";")[2].startswith("16"):
                return raw.partition(";")[0]
    return ""

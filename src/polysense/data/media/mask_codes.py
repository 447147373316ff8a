"""Masks as tables hold them: files of one value a pixel, polygons, and COCO's run-length codes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image

from polysense.data.media.media import locate, reason, short
from polysense.errors import DecodeError

__all__ = [
    "MAX_PIXELS",
    "colors",
    "decode_counts",
    "encode_counts",
    "filled",
    "from_runs",
    "polygon_parts",
    "read_plane",
    "read_size",
    "run_lengths",
]

MAX_PIXELS = 2**26

_FORMATS = ("PNG", "GIF", "TIFF", "BMP", "PPM", "JPEG")  # a JPEG is named in the message that refuses it
_MOST_VALUES = 2**16


def read_plane(cell: object, root: Path) -> Int[np.ndarray, "height width"]:
    """A file with one value a pixel: a palette or gray, of any format that keeps values.

    Args:
        cell: A path, bytes, or what else a table may hold of a file.
        root: The folder that relative paths start from.

    Raises:
        DecodeError: It is none, or broken, or too large.
    """
    media = locate(cell, root, "mask")
    try:
        with Image.open(io.BytesIO(media.read()), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DecodeError(f"has {image.width:,} x {image.height:,} pixels, expected at most {MAX_PIXELS:,}")
            if image.format == "JPEG":
                raise DecodeError("is a JPEG file, whose values change when it is written; expected a PNG")
            if image.mode not in {"L", "P", "1", "I", "I;16", "I;16B", "LA"}:
                raise DecodeError(
                    f"has colors (mode {image.mode}), expected one value a pixel: a palette or gray; save it as such"
                )
            pixels = np.asarray(image.getchannel(0) if image.mode == "LA" else image)
    except DecodeError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DecodeError(f"can't be read as a mask: {reason(error)}") from None
    if pixels.min() < 0 or pixels.max() >= _MOST_VALUES:
        raise DecodeError(f"has values from {pixels.min()} to {pixels.max()}, expected 0 to {_MOST_VALUES - 1:,}")
    result: np.ndarray = pixels.astype(np.int64)
    return result


def read_size(value: object) -> tuple[int, int] | None:
    """(height, width) as a cell states it; None where it says nothing.

    Raises:
        DecodeError: It is no size, or too large.
    """
    if value is None:
        return None
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 2
        or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in value)
    ):
        raise DecodeError(f"its size is {short(value)}, expected [height, width] in pixels")
    height, width = value
    if height * width > MAX_PIXELS:
        raise DecodeError(f"has {width:,} x {height:,} pixels, expected at most {MAX_PIXELS:,}")
    return height, width


def polygon_parts(value: object) -> list[list[tuple[float, float]]]:
    """The points (x, y) of a polygon `[x, y, x, y, ...]`, or of several parts of one thing.

    Raises:
        DecodeError: It is none.
    """
    if not isinstance(value, (list, tuple)) or not value:
        raise DecodeError(f"found the polygon {short(value)}, expected [x, y, x, y, ...]")
    return [_points(part) for part in (value if isinstance(value[0], (list, tuple)) else [value])]


def _points(part: object) -> list[tuple[float, float]]:
    if not isinstance(part, (list, tuple)) or len(part) < 6 or len(part) % 2:
        raise DecodeError(f"found the polygon {short(part)}, expected at least three points as [x, y, x, y, x, y, ...]")
    numbers = []
    for value in part:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
            raise DecodeError(f"found {short(value)} in a polygon, expected a coordinate in pixels")
        numbers.append(float(value))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def filled(parts: Sequence[Sequence[tuple[float, float]]], size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The pixels whose centers lie in a polygon; what belongs to one part of several belongs to it.

    A part that crosses itself is filled where a ray leaves it an odd number of times. Work and memory grow with the
    rows that an edge crosses.

    Args:
        parts: Points (x, y), pixel i from i to i + 1.
        size: (height, width) of the mask.
    """
    inside = np.zeros(size, dtype=bool)
    height, width = size
    for part in parts:
        points = np.array(part, dtype=np.float64)
        crossings = np.zeros(height * (width + 1), dtype=np.int64)
        for (x, y), (next_x, next_y) in zip(points, np.roll(points, -1, axis=0), strict=True):
            low, high = min(y, next_y), max(y, next_y)
            first, last = max(0, int(np.ceil(low - 0.5))), min(height, int(np.ceil(high - 0.5)))
            if last <= first:
                continue
            rows = np.arange(first, last)
            at = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
            column = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
            np.add.at(crossings, rows * (width + 1) + column, 1)
        inside |= crossings.reshape(height, width + 1)[:, :width].cumsum(axis=1) % 2 == 1
    return inside


def decode_counts(rle: object) -> np.ndarray:
    """A run-length code as COCO has it: runs of outside and inside pixels, column by column.

    Args:
        rle: {"size": [height, width], "counts": numbers, or COCO's compressed text}.

    Returns:
        bool [height, width].

    Raises:
        DecodeError: It is broken, or its runs don't add up to the size.
    """
    if not isinstance(rle, Mapping) or "counts" not in rle:
        raise DecodeError(f'found the rle {short(rle)}, expected {{"size": [height, width], "counts": ...}}')
    size = read_size(rle.get("size"))
    if size is None:
        raise DecodeError("its rle has no size, expected [height, width]")
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _decompressed(counts.encode("ascii", "replace") if isinstance(counts, str) else counts)
    runs = _runs(counts)
    if sum(runs) != size[0] * size[1]:
        raise DecodeError(f"its rle has runs of {sum(runs):,} pixels, expected {size[0]} x {size[1]}")
    return from_runs(np.array(runs, dtype=np.int64), size)


def _runs(counts: object) -> list[int]:
    if not isinstance(counts, Sequence) or not all(
        isinstance(run, int) and not isinstance(run, bool) and 0 <= run <= MAX_PIXELS for run in counts
    ):
        raise DecodeError(f"its rle has the counts {short(counts)}, expected whole numbers from 0, or COCO's text")
    return [run for run in counts if isinstance(run, int)]


def _decompressed(text: bytes) -> list[int]:
    """COCO's text: groups of five bits from 48 on, the sixth says that more follow; from the third run on, differences
    to the run two before (cocoapi, common/maskApi.c, rleFrString)."""
    runs: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text) or not 48 <= text[position] < 112 or shift > 30:
                raise DecodeError(f"its rle's text is broken at character {position}")
            code = text[position] - 48
            value |= (code & 31) << shift
            more = bool(code & 32)
            position, shift = position + 1, shift + 5
            if not more and code & 16:
                value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def from_runs(runs: Int[np.ndarray, " runs"], size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """What `run_lengths` was given; further runs of no pixel at the end change nothing."""
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(size[1], size[0]).T.copy()


def run_lengths(inside: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, " runs"]:
    """Runs of outside and inside pixels, in turn, column by column; the first may be of no pixel."""
    flat = inside.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
    result: np.ndarray = np.diff(edges, prepend=0)
    return result


def encode_counts(lengths: Int[np.ndarray, " runs"], size: tuple[int, int]) -> dict[str, object]:
    """Runs (`run_lengths`) as COCO's code of a mask, its counts as text; `decode_counts` reads it."""
    runs = lengths.tolist()
    text = []
    for position, run in enumerate(runs):
        value = run - runs[position - 2] if position > 2 else run
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text.append(chr(48 + group + (32 if more else 0)))
    return {"size": [*size], "counts": "".join(text)}


def colors(num: int) -> np.ndarray:
    """A color for each value from 0, as PASCAL VOC's development kit gives them: neighbors differ, 0 is black.

    Returns:
        uint8 [num, 3].
    """
    values, result = np.arange(num), np.zeros((num, 3), dtype=np.int64)
    for bit in range(8):
        for channel in range(3):
            result[:, channel] |= ((values >> (3 * bit + channel)) & 1) << (7 - bit)
    return result.astype(np.uint8)

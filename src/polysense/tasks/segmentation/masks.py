"""Cells read as masks: PNG files of class values, run-length codes and polygons.

    "masks/1.png", or its bytes                                palette or gray: a pixel's value is its class
    [{"label": "cat", "polygon": [x, y, x, y, ...]}, ...]      several parts of one thing: "polygon": [[...], [...]]
    [{"label": "cat", "rle": {"size": [height, width], "counts": [...] or "..."}}, ...]      as COCO has it
    {"size": [height, width], "segments": [...]}               where nothing else says how large the image is
    {"size": [height, width], "counts": [...] or "..."}        the foreground of an image, without a name
    any of the latter four as JSON text

Segments are drawn in order, a later one over an earlier one; a pixel in none is background. Classes are words: a value
of a PNG is the word that spells it ("7"), until a recipe names it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from polysense.data.media.media import locate, reason, short
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError

__all__ = [
    "EXPECTED",
    "FOREGROUND",
    "Mask",
    "colors",
    "decode_counts",
    "encode_png",
    "looks_like_segments",
    "read_mask",
]

EXPECTED = "segments, or a file's path"
MAX_PIXELS = 2**26
FOREGROUND = "foreground"
"""The label of a run-length code that has none."""

_FORMATS = ("PNG", "GIF", "TIFF", "BMP", "PPM", "JPEG")  # a JPEG is named in the message that refuses it
_MAX_SEGMENTS = 10_000
_MOST_VALUES = 2**16


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask.

    Attributes:
        ids: int32 [height, width], positions in `labels`.
        labels: The words of the classes that occur in it, or may.
    """

    ids: np.ndarray
    labels: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.ids.shape[0], self.ids.shape[1]

    def mapped(self, classes: Mapping[str, int], other: int) -> np.ndarray:
        """int32 [height, width] with each label's number among the classes; `other` for labels that are none."""
        ids: np.ndarray = np.array([classes.get(label, other) for label in self.labels], dtype=np.int32)[self.ids]
        return ids


def looks_like_segments(cell: object) -> bool:
    """Whether a cell is a list of segments, or a dictionary that holds one."""
    if isinstance(cell, Mapping):
        return isinstance(cell.get("segments"), (list, tuple)) or _is_run_length(cell)
    return (
        isinstance(cell, (list, tuple))
        and len(cell) > 0
        and all(isinstance(part, Mapping) and "label" in part and {"polygon", "rle"} & {*part} for part in cell)
    )


def read_mask(cell: object, root: Path, size: tuple[int, int] | None = None, background: str = "background") -> Mask:
    """Reads a cell.

    Args:
        cell: See the module.
        root: The folder that relative paths start from.
        size: (height, width) of the image, for polygons that don't say it.
        background: The label of pixels that lie in no segment.

    Raises:
        DecodeError: It is none of these, or broken.
    """
    cell = from_json(cell, EXPECTED)
    if isinstance(cell, Mapping) and "segments" in cell:
        return _from_segments(cell["segments"], _size(cell.get("size")) or size, background)
    if isinstance(cell, Mapping) and "label" in cell:
        return _from_segments([cell], size, background)
    if _is_run_length(cell):
        return _from_segments([{"label": FOREGROUND, "rle": cell}], size, background)
    if isinstance(cell, Mapping) and not {"path", "bytes"} & {*cell}:
        raise DecodeError(f"found {short(cell)}, expected segments, each with a label and a polygon or rle, or a file")
    if isinstance(cell, (list, tuple)):
        return _from_segments(cell, size, background)
    return _from_png(cell, root)


def _is_run_length(cell: object) -> bool:
    return isinstance(cell, Mapping) and {"size", "counts"} <= {*cell}


def _from_png(cell: object, root: Path) -> Mask:
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
    values = np.flatnonzero(np.bincount(pixels.ravel()))  # sorting them takes ten times as long
    table = np.zeros(int(values[-1]) + 1, dtype=np.int32)
    table[values] = np.arange(len(values))
    return Mask(table[pixels.astype(np.int64)], tuple(map(str, values.tolist())))


def _size(value: object) -> tuple[int, int] | None:
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


def _from_segments(segments: object, size: tuple[int, int] | None, background: str) -> Mask:
    if not isinstance(segments, (list, tuple)):
        raise DecodeError(f"its segments are {short(segments)}, expected a list")
    if len(segments) > _MAX_SEGMENTS:
        raise DecodeError(f"has {len(segments):,} segments, expected at most {_MAX_SEGMENTS:,}")
    labels: dict[str, int] = {background: 0}
    canvas: np.ndarray | None = None if size is None else np.zeros(size, dtype=np.int32)
    for position, segment in enumerate(segments):
        try:
            label, inside = _inside(segment, None if canvas is None else (canvas.shape[0], canvas.shape[1]))
        except DecodeError as error:
            raise DecodeError(f"segment {position}: {error}") from None
        if canvas is None:
            canvas = np.zeros(inside.shape, dtype=np.int32)
        canvas[inside] = labels.setdefault(label, len(labels))
    if canvas is None:
        raise DecodeError('has no segment and no size, expected {"size": [height, width], "segments": []}')
    return Mask(canvas, tuple(labels))


def _inside(segment: object, size: tuple[int, int] | None) -> tuple[str, np.ndarray]:
    """A segment's label, and bool [height, width]."""
    if not isinstance(segment, Mapping) or not isinstance(segment.get("label"), str):
        raise DecodeError(f"found {short(segment)}, expected a dictionary with a label and a polygon or rle")
    label = segment["label"]
    if segment.get("rle") is not None:
        inside = decode_counts(segment["rle"])
        if size is not None and inside.shape != size:
            raise DecodeError(f"its rle is of {list(inside.shape)} pixels, expected {list(size)}")
        return label, inside
    polygons = segment.get("polygon")
    if not isinstance(polygons, (list, tuple)) or not polygons:
        raise DecodeError(f"found the polygon {short(polygons)}, expected [x, y, x, y, ...]")
    if size is None:
        raise DecodeError('nothing says how large the image is; give {"size": [height, width], "segments": [...]}')
    parts = polygons if isinstance(polygons[0], (list, tuple)) else [polygons]
    image = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(image)
    for part in parts:
        points = _points(part)
        draw.polygon(points, fill=1)
    return label, np.asarray(image)


def _points(part: object) -> list[tuple[float, float]]:
    if not isinstance(part, (list, tuple)) or len(part) < 6 or len(part) % 2:
        raise DecodeError(f"found the polygon {short(part)}, expected at least three points as [x, y, x, y, x, y, ...]")
    numbers = []
    for value in part:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
            raise DecodeError(f"found {short(value)} in a polygon, expected a coordinate in pixels")
        numbers.append(float(value))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


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
    size = _size(rle.get("size"))
    if size is None:
        raise DecodeError("its rle has no size, expected [height, width]")
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _decompressed(counts.encode("ascii", "replace") if isinstance(counts, str) else counts)
    runs = _runs(counts)
    if sum(runs) != size[0] * size[1]:
        raise DecodeError(f"its rle has runs of {sum(runs):,} pixels, expected {size[0]} x {size[1]}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(size[1], size[0]).T.copy()


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


def encode_png(values: np.ndarray) -> bytes:
    """A mask as a PNG file: with a palette, or from value 256 on as 16-bit gray.

    Args:
        values: int [height, width], from 0.
    """
    file = io.BytesIO()
    if values.size and values.max() > 255:
        Image.fromarray(values.astype(np.uint16)).save(file, format="PNG")
    else:
        image = Image.fromarray(values.astype(np.uint8)).convert("P")
        image.putpalette(colors(256).tobytes())
        image.save(file, format="PNG")
    return file.getvalue()

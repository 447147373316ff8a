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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from polysense.data.media.mask_codes import colors, decode_counts, polygon_parts, read_plane, read_size
from polysense.data.media.media import short
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError

__all__ = [
    "EXPECTED",
    "FOREGROUND",
    "Mask",
    "encode_png",
    "looks_like_segments",
    "read_mask",
]

EXPECTED = "segments, or a file's path"
FOREGROUND = "foreground"
"""The label of a run-length code that has none."""

_MAX_SEGMENTS = 10_000


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
        return _from_segments(cell["segments"], read_size(cell.get("size")) or size, background)
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
    pixels = read_plane(cell, root)
    values = np.flatnonzero(np.bincount(pixels.ravel()))  # sorting them takes ten times as long
    table = np.zeros(int(values[-1]) + 1, dtype=np.int32)
    table[values] = np.arange(len(values))
    return Mask(table[pixels], tuple(map(str, values.tolist())))


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
    parts = polygon_parts(segment.get("polygon"))
    if size is None:
        raise DecodeError('nothing says how large the image is; give {"size": [height, width], "segments": [...]}')
    image = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(image)
    for points in parts:
        draw.polygon(points, fill=1)
    return label, np.asarray(image)


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

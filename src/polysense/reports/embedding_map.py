"""Render map.html: every row a point, the nearer the more alike; images where there is room, any one when pointed at.

One file that opens anywhere, loads nothing and runs no script: a point holds its coordinates in both maps, and which
of them counts is decided by the style sheet, from the buttons above. So an image is embedded once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from polysense.core.preview import CellPreview
from polysense.core.random import permutation
from polysense.reports.environment import render
from polysense.reports.numerals import number

__all__ = ["Layout", "MapPoint", "render_map"]

_WIDTH, _HEIGHT = 1100.0, 720.0  # CSS pixels of the sheet on a wide screen
_MARGIN = 0.04
_IMAGE = 40.0
_LETTER = 6.4  # pixels of a letter in a label
_LABEL_LETTERS = 22
_MAX_LABELS = 120
_MAX_TEXT = 240
_SHAPES = ("disc", "square", "ring", "frame")
_PALETTE = (
    "#1f77b4", "#e0703c", "#2f9e6e", "#c23b4e", "#8a63c9", "#a8793f", "#d65fa8", "#6b8e23", "#17a2b8", "#b59a00",
    "#5b6ee1",
)  # fmt: skip
_OTHER = "#8a95a5"
_NAMED = dict(zip(("blue", "orange", "green", "red", "purple", "brown", "pink"), _PALETTE, strict=False)) | {
    "yellow": "#b59a00"
}
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (244, 214, 50))  # dark is little, light is much


@dataclass(frozen=True, eq=False, kw_only=True)
class MapPoint:
    """One vector.

    Attributes:
        row: Its row in the table.
        column: The column that it is the place of; "" where it is of all together.
        previews: Its cells.
        value: Of the column that colors; None where that is missing, or nothing colors.
    """

    row: int
    column: str
    previews: Sequence[CellPreview]
    value: str | float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """One map.

    Attributes:
        name: "PCA", "t-SNE".
        positions: float64 [points, 2].
        note: What its distances mean, in a sentence.
    """

    name: str
    positions: np.ndarray
    note: str


class _Colors(NamedTuple):
    """What each point is colored by, the key's names with their colors, and the ends of a scale of numbers."""

    of_point: Sequence[str]
    keys: Mapping[str, str]
    ramp: tuple[float, float] | None = None


class _Mark(NamedTuple):
    """A point as it is drawn.

    Attributes:
        point: What it is.
        classes: Its CSS classes.
        style: Its coordinates and its color.
        image: A JPEG file, or None.
        wide: Whether the image may be drawn in any shape.
        label: Its text, shortened; empty where there is none.
        text: Its text at length.
        value: What colors it, as text; None where nothing does.
    """

    point: MapPoint
    classes: str
    style: str
    image: bytes | None
    wide: bool
    label: str
    text: str
    value: str | None


def render_map(
    title: str, points: Sequence[MapPoint], layouts: Sequence[Layout], *, color: str | None, notes: Sequence[str]
) -> str:
    """The whole page as HTML.

    Args:
        title: Of the page.
        points: What is drawn.
        layouts: Where, the one that is visible first in front.
        color: The column of `MapPoint.value`; None: points are colored by their own column.
        notes: Sentences for the head: how many of how many, what the vectors are.
    """
    columns = list(dict.fromkeys(point.column for point in points))
    colors = _colors(points, columns, color)
    placed = [_percent(layout.positions) for layout in layouts]
    rooms = [_with_room(points, place) for place in placed]
    shape = {column: _SHAPES[i % len(_SHAPES)] for i, column in enumerate(columns)}
    marks = [
        _mark(point, i, shape[point.column], columns, colors.of_point[i], placed, rooms, color)
        for i, point in enumerate(points)
    ]
    return render(
        "embedding_map.html.j2",
        title=title,
        notes=notes,
        layouts=layouts,
        columns=columns,
        color=color,
        colors=colors,
        ramp=", ".join(f"rgb{stop}" for stop in _RAMP),
        shapes=shape,
        marks=marks,
    )


def _colors(points: Sequence[MapPoint], columns: Sequence[str], color: str | None) -> _Colors:
    if color is None:
        own = {column: _PALETTE[i % len(_PALETTE)] for i, column in enumerate(columns)}
        return _Colors([own[point.column] for point in points], own)
    values = [point.value for point in points]
    numbers = [value for value in values if isinstance(value, float)]
    if numbers:
        low, high = min(numbers), max(numbers)
        shares = [(v - low) / ((high - low) or 1.0) if isinstance(v, float) else None for v in values]
        results = [_OTHER if share is None else _ramp(share) for share in shares]
        keys = {"missing": _OTHER} if len(numbers) < len(values) else {}
        return _Colors(results, keys, (low, high))
    counts = Counter(str(value) for value in values if value is not None)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    own = _class_colors(ranked)
    keys = {f"{name} ({counts[name]})": own[name] for name in own}
    if len(ranked) > len(own):
        keys[f"{len(ranked) - len(own)} others ({sum(counts[name] for name in ranked[len(own) :])})"] = _OTHER
    if missing := sum(value is None for value in values):
        keys[f"missing ({missing})"] = _OTHER
    return _Colors([_OTHER if value is None else own.get(str(value), _OTHER) for value in values], keys)


def _class_colors(ranked: Sequence[str]) -> dict[str, str]:
    """A color for each of the most frequent classes: one that is named after a color has that color."""
    listed = ranked[: len(_PALETTE)]
    named = {name: _NAMED[name.strip().casefold()] for name in listed if name.strip().casefold() in _NAMED}
    own: dict[str, str] = {}
    free = [color for color in _PALETTE if color not in named.values()]
    for name in listed:
        chosen = named.get(name)
        own[name] = free.pop(0) if chosen is None or chosen in own.values() else chosen
    return own


def _ramp(share: float) -> str:
    at = share * (len(_RAMP) - 1)
    i = min(int(at), len(_RAMP) - 2)
    mixed = [round(a + (b - a) * (at - i)) for a, b in zip(_RAMP[i], _RAMP[i + 1], strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _percent(coordinates: np.ndarray) -> np.ndarray:
    """Places in percent of the sheet, one scale for both directions, upwards as in any plot."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    room = np.array([_WIDTH, _HEIGHT]) * (1 - 2 * _MARGIN)
    spread = np.maximum(high - low, 1e-12)
    scale = float((room / spread).min()) if (high > low).any() else 0.0
    pixels = (coordinates - (low + high) / 2) * scale * np.array([1.0, -1.0])
    return np.asarray(50.0 + 100.0 * pixels / np.array([_WIDTH, _HEIGHT]))


def _with_room(points: Sequence[MapPoint], coordinates: np.ndarray) -> np.ndarray:
    """Which points' images and labels fit without covering another; bool [points].

    Taken in an order of chance, so that no region of the table is preferred.
    """
    pixels = coordinates * np.array([_WIDTH, _HEIGHT]) / 100.0
    boxes = np.empty((0, 4))
    chosen = np.zeros(len(points), dtype=bool)
    labels = 0
    for i in permutation(len(points), "map"):
        x, y = pixels[i]
        point = points[i]
        if _image(point) is not None:
            box = np.array([x - _IMAGE / 2, y - _IMAGE / 2, x + _IMAGE / 2, y + _IMAGE / 2])
        else:
            said = _text(point)
            width = 16 + _LETTER * min(len(said), _LABEL_LETTERS)
            if not said or labels >= _MAX_LABELS or x + width > _WIDTH:
                continue
            box = np.array([x - 5, y - 8, x + width, y + 8])
        apart = (boxes[:, 0] > box[2]) | (boxes[:, 2] < box[0]) | (boxes[:, 1] > box[3]) | (boxes[:, 3] < box[1])
        if apart.all():
            boxes = np.concatenate([boxes, box[None]])
            chosen[i] = True
            labels += _image(point) is None
    return chosen


def _mark(
    point: MapPoint,
    index: int,
    shape: str,
    columns: Sequence[str],
    color: str,
    placed: Sequence[np.ndarray],
    rooms: Sequence[np.ndarray],
    colored_by: str | None,
) -> _Mark:
    x, y = placed[0][index]
    names = ["p", shape, f"k{columns.index(point.column)}"]
    names += [letter for letter, room in zip("ab", rooms, strict=False) if room[index]]
    if all(place[index, 0] < 14 for place in placed):
        names.append("left")
    elif all(place[index, 0] > 86 for place in placed):
        names.append("right")
    if all(place[index, 1] > 78 for place in placed):
        names.append("bottom")
    where = f"--x:{x:.2f};--y:{y:.2f};"
    if len(placed) > 1:
        where += f"--u:{placed[1][index, 0]:.2f};--v:{placed[1][index, 1]:.2f};"
    text, value = _text(point), point.value
    words = None
    if colored_by is not None:
        words = "missing" if value is None else number(value) if isinstance(value, float) else value
    return _Mark(
        point=point,
        classes=" ".join(names),
        style=f"{where}--c:{color}",
        image=_image(point),
        wide=any(one.stretches and one.images for one in point.previews),
        label=text if len(text) <= _LABEL_LETTERS else text[: _LABEL_LETTERS - 1] + "…",
        text=text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + " …",
        value=words,
    )


def _image(point: MapPoint) -> bytes | None:
    return next((image for one in point.previews for image in one.images), None)


def _text(point: MapPoint) -> str:
    """The texts, on one line."""
    return " · ".join(" ".join(one.split()) for preview in point.previews for one in preview.texts if one.strip())

"""map.html: every row a point, the nearer the more alike; pictures where there is room, any one when pointed at.

One file that opens anywhere, loads nothing and runs no script: a point holds its places in both maps, and which of them
counts is decided by the style sheet, from the buttons above. So a picture is embedded once.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polysense.core.random import permutation
from polysense.evaluation.cells import Input
from polysense.evaluation.page import document, number, text

__all__ = ["Layout", "MapPoint", "render_map"]

_WIDTH, _HEIGHT = 1100.0, 720.0  # CSS pixels of the sheet on a wide screen
_MARGIN = 0.04
_PICTURE = 40.0
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
_STYLE = """
.field { position: relative; width: 100%; aspect-ratio: 1100 / 720; margin-top: 12px; background: var(--soft);
  border-radius: 8px; }
.p { position: absolute; left: calc(var(--x) * 1%); top: calc(var(--y) * 1%); width: 9px; height: 9px; margin: -4.5px;
  background: var(--c); border-radius: 50%; box-shadow: 0 0 0 1px var(--soft); }
.p.square { border-radius: 1px; } .p.ring, .p.frame { background: var(--card); border: 2px solid var(--c); }
.p.frame { border-radius: 1px; }
.p img, .p .label { display: none; position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); }
.p img { width: 38px; height: 38px; object-fit: contain; background: var(--card); border: 2px solid var(--c);
  border-radius: 4px; } .p img.wide { object-fit: fill; }
.p .label { left: 14px; transform: translate(0, -50%); font-size: 11.5px; line-height: 1; white-space: nowrap;
  color: var(--ink); pointer-events: none;
  text-shadow: 0 0 2px var(--soft), 0 0 2px var(--soft), 0 0 3px var(--soft), 0 0 4px var(--soft); }
.p .card { display: none; position: absolute; left: 50%; top: 68px; transform: translateX(-50%); width: max-content;
  max-width: 260px; padding: 6px 10px; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  font-size: 12.5px; line-height: 1.35; overflow-wrap: anywhere; box-shadow: 0 3px 12px #0005; }
.p .card.low { top: 16px; } .p.left .card { left: 0; transform: none; }
.p.right .card { left: auto; right: 0; transform: none; }
.p.bottom .card { top: auto; bottom: 68px; } .p.bottom .card.low { bottom: 16px; }
.p:hover { z-index: 9; } .p:hover .card { display: block; } .p:hover .label { display: none; }
.p.a { z-index: 1; } .p.a img, .p.a .label { display: block; }
.p:hover img { display: block !important; width: 116px; height: 116px; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 8px; font-size: 13px; }
.keys span { display: inline-flex; align-items: center; gap: 6px; overflow-wrap: anywhere; }
.keys i { flex: none; width: 10px; height: 10px; border-radius: 50%; background: var(--c); }
.keys i.square { border-radius: 1px; } .keys i.ring, .keys i.frame { background: none; border: 2px solid var(--c); }
.keys i.frame { border-radius: 1px; }
.keys i.ramp { width: 120px; border-radius: 3px; background: linear-gradient(to right, RAMP); }
section > input { margin: 0 4px 0 0; vertical-align: -1px; accent-color: var(--model); }
section > input + label { margin-right: 18px; font-size: 14px; cursor: pointer; }
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class MapPoint:
    """One vector.

    Attributes:
        row: Its row in the table.
        column: The column that it is the place of; "" where it is of all together.
        shown: What the row holds there.
        value: Of the column that colours; None where that is missing, or nothing colours.
    """

    row: int
    column: str
    shown: Sequence[Input]
    value: str | float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """One map.

    Attributes:
        name: "PCA", "t-SNE".
        places: float64 [points, 2].
        note: What its distances mean, in a sentence.
    """

    name: str
    places: np.ndarray
    note: str


@dataclass(frozen=True, kw_only=True)
class _Colours:
    """What each point is coloured by, and what is said of it."""

    of_point: Sequence[str]
    keys: Mapping[str, str] = field(default_factory=dict)
    ramp: tuple[float, float] | None = None


def render_map(
    title: str, points: Sequence[MapPoint], layouts: Sequence[Layout], *, colour: str | None, notes: Sequence[str]
) -> str:
    """The whole page as HTML.

    Args:
        title: Of the page.
        points: What is drawn.
        layouts: Where, the one that is shown first in front.
        colour: The column of `MapPoint.value`; None: points are coloured by their own column.
        notes: Sentences for the head: how many of how many, what the vectors are.
    """
    columns = list(dict.fromkeys(point.column for point in points))
    colours = _colours(points, columns, colour)
    placed = [_percent(layout.places) for layout in layouts]
    rooms = [_with_room(points, place) for place in placed]
    shape = {column: _SHAPES[i % len(_SHAPES)] for i, column in enumerate(columns)}
    marks = [
        _mark(point, i, shape[point.column], columns, colours.of_point[i], placed, rooms, colour)
        for i, point in enumerate(points)
    ]
    head = (
        f"<header><h1>{text(title)}</h1>" + "".join(f'<p class="lead">{text(note)}</p>' for note in notes) + "</header>"
    )
    about = "".join(f"<li><b>{text(one.name)}</b>: {text(one.note)}</li>" for one in layouts)
    body = (
        f"<style>{_style(len(layouts), len(columns))}</style>{head}<section>"
        f"{_buttons(layouts, columns)}{_keys(colours, shape, colour)}"
        f'<div class="field">{"".join(marks)}</div></section>'
        '<section><h2>How to read it</h2><ul class="small"><li>Point at a mark for what it is. Pictures and labels are '
        f"drawn where there is room for them.</li>{about}</ul></section>"
    )
    return document(title, body, media=True)


def _style(num_layouts: int, num_columns: int) -> str:
    """The style sheet, with what the buttons switch."""
    rules = [_STYLE.replace("RAMP", ", ".join(f"rgb{stop}" for stop in _RAMP))]
    if num_layouts > 1:
        rules.append(
            "#l1:checked ~ .field .p { left: calc(var(--u) * 1%); top: calc(var(--v) * 1%); }\n"
            "#l1:checked ~ .field .p.a { z-index: auto; } #l1:checked ~ .field .p.b { z-index: 1; }\n"
            "#l1:checked ~ .field .p:hover { z-index: 9; }\n"
            "#l1:checked ~ .field .p.a:not(.b) img, #l1:checked ~ .field .p.a:not(.b) .label { display: none; }\n"
            "#l1:checked ~ .field .p.b img { display: block; } #l1:checked ~ .field .p.b .label { display: block; }\n"
            "#l1:checked ~ .field .p:hover .label { display: none; }\n"
        )
    rules += [f"#k{i}:not(:checked) ~ .field .k{i} {{ display: none; }}\n" for i in range(num_columns)]
    return "".join(rules)


def _buttons(layouts: Sequence[Layout], columns: Sequence[str]) -> str:
    parts = []
    if len(layouts) > 1:
        for i, layout in enumerate(layouts):
            checked = "" if i else " checked"
            parts.append(
                f'<input type="radio" name="l" id="l{i}"{checked}><label for="l{i}">{text(layout.name)}</label>'
            )
    if len(columns) > 1:
        for i, column in enumerate(columns):
            parts.append(f'<input type="checkbox" id="k{i}" checked><label for="k{i}">{text(column)}</label>')
    return "".join(parts)


def _keys(colours: _Colours, shape: Mapping[str, str], colour: str | None) -> str:
    """What colours and shapes stand for."""
    parts = []
    if colours.ramp is not None:
        low, high = (number(value) for value in colours.ramp)
        parts.append(f'<span>{text(colour)}: {low} <i class="ramp"></i> {high}</span>')
    for name, value in colours.keys.items():
        # Where columns are told apart by colour, their shapes stand in the same key.
        kind = "" if colour is not None else f' class="{shape[name]}"'
        parts.append(f'<span style="--c:{value}"><i{kind}></i>{text(name or "all columns together")}</span>')
    if colour is not None and len(shape) > 1:
        parts += [
            f'<span style="--c:var(--ink)"><i class="{kind}"></i>{text(column)}</span>'
            for column, kind in shape.items()
        ]
    return f'<div class="keys">{"".join(parts)}</div>'


def _colours(points: Sequence[MapPoint], columns: Sequence[str], colour: str | None) -> _Colours:
    if colour is None:
        own = {column: _PALETTE[i % len(_PALETTE)] for i, column in enumerate(columns)}
        return _Colours(of_point=[own[point.column] for point in points], keys=own)
    values = [point.value for point in points]
    numbers = [value for value in values if isinstance(value, float)]
    if numbers:
        low, high = min(numbers), max(numbers)
        shares = [(v - low) / ((high - low) or 1.0) if isinstance(v, float) else None for v in values]
        found = [_OTHER if share is None else _ramp(share) for share in shares]
        keys = {"missing": _OTHER} if len(numbers) < len(values) else {}
        return _Colours(of_point=found, keys=keys, ramp=(low, high))
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[str(value)] = counts.get(str(value), 0) + 1
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    own = _class_colours(ranked)
    keys = {f"{name} ({counts[name]})": own[name] for name in own}
    if len(ranked) > len(own):
        keys[f"{len(ranked) - len(own)} others ({sum(counts[name] for name in ranked[len(own) :])})"] = _OTHER
    if missing := sum(value is None for value in values):
        keys[f"missing ({missing})"] = _OTHER
    return _Colours(
        of_point=[own.get(str(value), _OTHER) if value is not None else _OTHER for value in values], keys=keys
    )


def _class_colours(ranked: Sequence[str]) -> dict[str, str]:
    """A colour for each of the most frequent classes: one that is named after a colour has that colour."""
    shown = ranked[: len(_PALETTE)]
    named = {name: _NAMED[name.strip().casefold()] for name in shown if name.strip().casefold() in _NAMED}
    own: dict[str, str] = {}
    free = [colour for colour in _PALETTE if colour not in named.values()]
    for name in shown:
        chosen = named.get(name)
        own[name] = free.pop(0) if chosen is None or chosen in own.values() else chosen
    return own


def _ramp(share: float) -> str:
    at = share * (len(_RAMP) - 1)
    i = min(int(at), len(_RAMP) - 2)
    mixed = [round(a + (b - a) * (at - i)) for a, b in zip(_RAMP[i], _RAMP[i + 1], strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _percent(places: np.ndarray) -> np.ndarray:
    """Places in percent of the sheet, one scale for both directions, upwards as in any plot."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([_WIDTH, _HEIGHT]) * (1 - 2 * _MARGIN)
    spread = np.maximum(high - low, 1e-12)
    scale = float((room / spread).min()) if (high > low).any() else 0.0
    pixels = (places - (low + high) / 2) * scale * np.array([1.0, -1.0])
    return np.asarray(50.0 + 100.0 * pixels / np.array([_WIDTH, _HEIGHT]))


def _with_room(points: Sequence[MapPoint], places: np.ndarray) -> np.ndarray:
    """Which points' pictures and labels fit without covering another; bool [points].

    Taken in an order of chance, so that no region of the table is preferred.
    """
    pixels = places * np.array([_WIDTH, _HEIGHT]) / 100.0
    boxes = np.empty((0, 4))
    chosen = np.zeros(len(points), dtype=bool)
    labels = 0
    for i in permutation(len(points), "map"):
        x, y = pixels[i]
        point = points[i]
        if _picture(point) is not None:
            box = np.array([x - _PICTURE / 2, y - _PICTURE / 2, x + _PICTURE / 2, y + _PICTURE / 2])
        else:
            said = _said(point)
            width = 16 + _LETTER * min(len(said), _LABEL_LETTERS)
            if not said or labels >= _MAX_LABELS or x + width > _WIDTH:
                continue
            box = np.array([x - 5, y - 8, x + width, y + 8])
        apart = (boxes[:, 0] > box[2]) | (boxes[:, 2] < box[0]) | (boxes[:, 1] > box[3]) | (boxes[:, 3] < box[1])
        if apart.all():
            boxes = np.concatenate([boxes, box[None]])
            chosen[i] = True
            labels += _picture(point) is None
    return chosen


def _mark(
    point: MapPoint,
    index: int,
    shape: str,
    columns: Sequence[str],
    colour: str,
    placed: Sequence[np.ndarray],
    rooms: Sequence[np.ndarray],
    coloured_by: str | None,
) -> str:
    picture, said = _picture(point), _said(point)
    x, y = placed[0][index]
    names = [f"p {shape} k{columns.index(point.column)}"]
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
    inside = ""
    if picture is not None:
        wide = ' class="wide"' if any(one.stretches and one.pictures for one in point.shown) else ""
        inside += f'<img{wide} alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode("ascii")}">'
    elif said:
        short = said if len(said) <= _LABEL_LETTERS else said[: _LABEL_LETTERS - 1] + "…"
        inside += f'<bdi class="label">{text(short)}</bdi>'
    lines = (
        [f'<bdi dir="auto">{text(said if len(said) <= _MAX_TEXT else said[:_MAX_TEXT] + " …")}</bdi>'] if said else []
    )
    of = f", {text(point.column)}" if point.column else ""
    lines.append(f'<span class="mute">row {point.row}{of}</span>')
    if coloured_by is not None:
        value = "missing" if point.value is None else point.value
        shown = number(value) if isinstance(value, float) and math.isfinite(value) else text(value)
        lines.append(f'<span class="mute">{text(coloured_by)}:</span> {shown}')
    low = "" if picture is not None else " low"
    card = f'<div class="card{low}">{"<br>".join(lines)}</div>'
    return f'<div class="{" ".join(names)}" style="{where}--c:{colour}">{inside}{card}</div>'


def _picture(point: MapPoint) -> bytes | None:
    return next((picture for one in point.shown for picture in one.pictures), None)


def _said(point: MapPoint) -> str:
    """The texts, on one line."""
    return " · ".join(" ".join(one.split()) for shown in point.shown for one in shown.texts if one.strip())

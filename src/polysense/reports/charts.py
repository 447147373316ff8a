"""Draw charts as SVG: bars with intervals, curves, dot plots, bands of segments.

By hand, not by a plotting library: these are rectangles and lines, matplotlib would add 34 MiB and 0.6 s to the end of
a training run, and plotly 4.7 MB to each page. Colors are CSS variables, so a chart follows the reader's light or dark
setting; what a color says is also said by a word or a sign. Every element is made by `tag`, which escapes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

from polysense.evaluation.bootstrap import Interval
from polysense.reports.escaping import visible
from polysense.reports.numerals import number

__all__ = [
    "DotRow",
    "Points",
    "Series",
    "band",
    "class_color",
    "curve_chart",
    "domain",
    "dot_plot",
    "interval_bar",
    "line_chart",
    "plane",
    "shot_chart",
    "tag",
    "ticks",
]

_NUM_COLORS = 4  # .c0 to .c3 of the style sheet
_FEW_DOTS = 60  # that are drawn large
_Pixels: TypeAlias = int | float


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; text and attributes are escaped.

    Args:
        name: "svg", "rect".
        children: Elements, or text.
        attributes: By name, "_" for "-" and "class_" for "class"; None leaves one out.
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    inside = Markup("").join(Markup(' {}="{}"').format(key, visible(value)) for key, value in pairs)
    if not children:
        return Markup("<{}{}/>").format(name, inside)
    return Markup("<{0}{1}>{2}</{0}>").format(name, inside, Markup("").join(map(visible, children)))


def domain(intervals: Sequence[Interval], *, low: float = 0.0, high: float = 0.0) -> tuple[float, float]:
    """A scale that holds 0, every interval, and at least [low, high]."""
    values = [value for one in intervals for value in (one.value, one.low, one.high) if math.isfinite(value)]
    return min([0.0, low, *values]), max([0.0, high, *values]) or 1.0


def interval_bar(value: Interval, scale: tuple[float, float], *, kind: str = "", label: str) -> Markup:
    """A bar from 0 to the value with its interval as a whisker, on a scale that a column of bars shares.

    Args:
        value: The value.
        scale: The values at the left and the right edge; holds 0.
        kind: "model", "good", "bad" or "" (neutral).
        label: What a screen reader says.
    """
    low, high = scale
    width = (high - low) or 1.0

    def x(at: float) -> float:
        return round(1000 * (min(max(at, low), high) - low) / width, 1)

    marks = []
    if math.isfinite(value.value):
        left, right = sorted((x(0.0), x(value.value)))
        marks.append(tag("rect", class_=f"bar {kind}".strip(), x=left, y=8, width=round(right - left, 1), height=14))
    marks.append(tag("line", class_="zero", x1=x(0.0), x2=x(0.0), y1=0, y2=30))
    if value.has_bounds:
        marks.append(_whisker(x(value.low), x(value.high), 15, 5))
    box = {"viewBox": "-4 0 1008 30", "preserveAspectRatio": "none", "role": "img", "aria_label": label}
    return tag("svg", tag("title", label), *marks, **box)


def line_chart(
    title: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, mark: float | None = None
) -> Markup:
    """Up to four lines over the epochs; nothing where no line has a point.

    Args:
        title: What is drawn.
        lines: (name, points); points that are not finite are left out.
        mark: An epoch to mark, the one whose model is delivered.
    """
    finite = [(name, [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])]) for name, points in lines]
    drawn = [(name, points) for name, points in finite if points][:_NUM_COLORS]
    points = [point for _, line in drawn for point in line]
    if not points:
        return Markup("")
    left, top, width, height = 52, 26, 310, 190
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = _padded([p[1] for p in points], 0.05)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        share = (point[0] - x0) / (x1 - x0) if x1 > x0 else 0.5
        return round(left + width * share, 1), round(top + height * (1 - (point[1] - y0) / (y1 - y0)), 1)

    marks = []
    for value in ticks(y0, y1):
        marks += _horizontal(left, left + width, at((x0, value))[1], f"{value:.4g}")
    for epoch in sorted({x0, *(value for value in ticks(x0, x1) if value == round(value)), x1}):
        if epoch in (x0, x1) or width * min(epoch - x0, x1 - epoch) / (x1 - x0) > 26:
            marks.append(_label(at((epoch, y0))[0], top + height + 16, f"{epoch:g}", anchor="middle"))
    if mark is not None and x0 <= mark <= x1:
        x = at((mark, y0))[0]
        marks.append(tag("line", class_="zero", stroke_dasharray="3 3", x1=x, x2=x, y1=top, y2=top + height))
        # Late in the run a falling line has left the top free, a rising one the bottom.
        y = top + 10 if drawn[0][1][0][1] > drawn[0][1][-1][1] else top + height - 6
        marks.append(_label(x, y, "\u00a0delivered\u00a0", anchor="end" if x > left + width / 2 else "start"))
    marks += _key([(name, f"c{i}") for i, (name, _) in enumerate(drawn)], left)
    for i, (_, line) in enumerate(drawn):
        coordinates = [at(point) for point in line]
        marks.append(tag("polyline", class_=f"line c{i}", points=" ".join(f"{x},{y}" for x, y in coordinates)))
        if len(coordinates) <= 40:
            for (left_of, top_of), (epoch, value) in zip(coordinates, line, strict=True):
                words = tag("title", f"{drawn[i][0]}, epoch {epoch:g}: {value:.4g}")
                marks.append(tag("circle", words, class_=f"dot c{i}", stroke="none", cx=left_of, cy=top_of, r=3))
    return _figure(title, marks, left + width + 12, top + height + 24, label=f"{title} by epoch")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line with an interval at each point.

    Attributes:
        name: In the key.
        color: "c0" to "c3".
        values: A value for each position.
        shift: Pixels to the right, so that one series' whiskers don't hide another's.
    """

    name: str
    color: str
    values: Sequence[Interval]
    shift: float = 0.0


def shot_chart(
    title: str, positions: Sequence[str], series: Sequence[Series], references: Sequence[tuple[str, float]], high: float
) -> Markup:
    """Lines with whiskers over named positions, between horizontal lines that are to be beaten.

    Args:
        title: Above it.
        positions: Along the axis, evenly spaced.
        series: The lines.
        references: (name, value) of the horizontal lines.
        high: The axis' upper end; the lower one is 0.
    """
    left, top, width, height = 46, 28, 230, 190
    right, bottom = left + width, top + height

    def y(value: float) -> float:
        return round(top + height * (1 - value / (high or 1.0)), 1)

    def x(index: int) -> float:
        return round(left + width * (index + 0.5) / len(positions), 1)

    marks = []
    for value in ticks(0.0, high):
        marks += _horizontal(left, right, y(value), f"{value:.4g}")
    marks += [_label(x(index), bottom + 16, name, anchor="middle") for index, name in enumerate(positions)]
    for name, value in references:
        marks.append(tag("line", class_="zero", stroke_dasharray="2 4", x1=left, x2=right, y1=y(value), y2=y(value)))
        marks.append(_label(right, y(value) + 4, f"\u00a0{name}"))
    marks += _key([(one.name, one.color) for one in series], left)
    for one in series:
        coordinates = [(round(x(i) + one.shift, 1), y(value.value)) for i, value in enumerate(one.values)]
        marks.append(tag("polyline", class_=f"line {one.color}", points=" ".join(f"{a},{b}" for a, b in coordinates)))
        for (a, b), point in zip(coordinates, one.values, strict=True):
            if point.has_bounds:
                up, down = y(point.high), y(point.low)
                path = f"M{a} {up}V{down}M{a - 3} {up}H{a + 3}M{a - 3} {down}H{a + 3}"
                marks.append(tag("path", class_="whisker", d=path))
            marks.append(tag("circle", class_=f"dot {one.color}", stroke="none", cx=a, cy=b, r=3.5))
    label = "; ".join(f"{one.name} {', '.join(number(value.value) for value in one.values)}" for one in series)
    return _figure(title, marks, right + 92, bottom + 22, label=label, style="flex: 1 1 320px")


def curve_chart(
    title: str,
    positions: Sequence[tuple[float, str]],
    series: Sequence[Series],
    *,
    references: Sequence[tuple[str, float]] = (),
) -> Markup:
    """Up to four lines over numbers, each in a band that its intervals make; nothing where no value is finite.

    Args:
        title: Above it.
        positions: (number, its label) along the axis, ascending; an empty label is left out.
        series: The lines, a value for each position.
        references: (name, value) of horizontal lines, drawn thin.
    """
    left, top, width, height = 52, 28, 400, 180
    drawn = [one for one in series if any(math.isfinite(value.value) for value in one.values)][:_NUM_COLORS]
    ends = [end for one in drawn for value in one.values for end in (value.value, value.low, value.high)]
    known = [end for end in [*ends, *(value for _, value in references)] if math.isfinite(end)]
    if not drawn or not known:
        return Markup("")
    low, high = _padded(known, 0.05)
    first, last = positions[0][0], positions[-1][0]

    def x(at: float) -> float:
        return round(left + width * ((at - first) / (last - first) if last > first else 0.5), 1)

    def y(value: float) -> float:
        return round(top + height * (1 - (value - low) / (high - low)), 1)

    marks = []
    for value in ticks(low, high):
        marks += _horizontal(left, left + width, y(value), f"{value:.4g}")
    marks += [_label(x(at), top + height + 16, name, anchor="middle") for at, name in positions if name]
    for name, at in references:
        line = {"x1": left, "x2": left + width, "y1": y(at), "y2": y(at)}
        marks += [tag("line", class_="zero", stroke_dasharray="2 4", **line), _label(left + 4, y(at) - 3, name)]
    for one in drawn:
        edges = [(x(at), value) for (at, _), value in zip(positions, one.values, strict=True) if value.has_bounds]
        if edges:
            upper = [f"{at},{y(value.high)}" for at, value in edges]
            lower = [f"{at},{y(value.low)}" for at, value in reversed(edges)]
            points = " ".join([*upper, *lower])
            band_style = {"class_": f"dot {one.color}", "fill_opacity": 0.15, "style": "stroke: none"}
            marks.append(tag("polygon", points=points, **band_style))
    for one in drawn:
        points_ = [
            (x(at), y(value.value))
            for (at, _), value in zip(positions, one.values, strict=True)
            if math.isfinite(value.value)
        ]
        marks.append(tag("polyline", class_=f"line {one.color}", points=" ".join(f"{a},{b}" for a, b in points_)))
        marks += [tag("circle", class_=f"dot {one.color}", stroke="none", cx=a, cy=b, r=2.5) for a, b in points_]
    marks += _key([(one.name, one.color) for one in drawn], left)
    label = "; ".join(f"{one.name} {', '.join(number(value.value) for value in one.values)}" for one in drawn)
    size = left + width + 14, top + height + 24
    return _figure(title, marks, *size, label=f"{title}: {label}", style="max-width: 560px")


@dataclass(frozen=True, kw_only=True)
class DotRow:
    """A row of a dot plot: its name, single measurements and their mean, in a color from "c0" to "c3"."""

    name: str
    dots: Sequence[float]
    mean: Interval
    color: str = "c0"


def dot_plot(title: str, rows: Sequence[DotRow], *, reference: float | None = None) -> Markup:
    """Small dots, and the mean (a finite one) as a large one over its interval; nothing where there is no row.

    A dashed line stands at the reference.
    """
    if not rows:
        return Markup("")
    values = [value for row in rows for value in (*row.dots, row.mean.low, row.mean.high, row.mean.value)]
    low, high = _padded([value for value in values if math.isfinite(value)], 0.04)
    # Names stand above their rows, so that the plot is narrow enough for a phone.
    left, top, width, step = 14, 8, 360, 40
    bottom = top + step * len(rows)

    def x(value: float) -> float:
        return round(left + width * (value - low) / (high - low), 1)

    marks = []
    for value in ticks(low, high):
        marks.append(tag("line", class_="grid", x1=x(value), x2=x(value), y1=top, y2=bottom))
        marks.append(_label(x(value), bottom + 15, f"{value:.4g}", anchor="middle"))
    if reference is not None:
        at = x(reference)
        marks.append(tag("line", class_="zero", stroke_dasharray="3 3", x1=at, x2=at, y1=top, y2=bottom))
    for i, row in enumerate(rows):
        y = top + step * i + 28
        name = row.name if len(row.name) <= 48 else row.name[:47] + "…"
        marks.append(tag("text", name, class_="key", x=left, y=y - 12))
        dot = {"class_": f"dot {row.color}", "stroke": "none", "cy": y}
        for value in row.dots:
            words = tag("title", f"{row.name}: {number(value)}")
            marks.append(tag("circle", words, **dot, fill_opacity=0.45, cx=x(value), r=2.5))
        if row.mean.has_bounds:
            marks.append(_whisker(x(row.mean.low), x(row.mean.high), y, 4))
        words = tag("title", f"{row.name}, mean: {number(row.mean.value)}")
        marks.append(tag("circle", words, **dot, cx=x(row.mean.value), r=4.5))
    label = "; ".join(f"{row.name}: {number(row.mean.value)}" for row in rows)
    return _figure(title, marks, left + width + 12, bottom + 22, label=label)


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of a plane.

    Attributes:
        name: In the key, where there are several series.
        xs: Their places.
        ys: Likewise; where either is not finite the point is left out.
        color: "c0" to "c3".
        bounds: Of each point its interval, drawn upright.
        joined: Whether a line goes through them.
        steps: Whether that line goes by steps, first along, then up.
        dots: Whether each has a dot.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    color: str = "c0"
    bounds: Sequence[Interval] = ()
    joined: bool = False
    steps: bool = False
    dots: bool = True


def plane(
    title: str,
    series: Sequence[Points],
    *,
    x_name: str,
    y_name: str,
    label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    baseline: float | None = None,
) -> Markup:
    """Points and lines over two axes; nothing where there is no point.

    Args:
        title: Above it.
        series: What is drawn, at most four.
        x_name: Of the axis below.
        y_name: Of the axis to the left; stands above it.
        label: What a screen reader says.
        x_range: The axis' ends; by default those of the points.
        y_range: Likewise.
        diagonal: Whether a dashed line marks where both are equal.
        baseline: Where a dashed level line stands.
    """
    drawn = series[:_NUM_COLORS]
    points = [
        (x, y) for each in drawn for x, y in zip(each.xs, each.ys, strict=True) if math.isfinite(x) and math.isfinite(y)
    ]
    if not points:
        return Markup("")
    left, top, width, height = 56, 44, 330, 240
    right, bottom = left + width, top + height
    x0, x1 = x_range or _padded([x for x, _ in points], 0.04)
    y0, y1 = y_range or _padded([y for _, y in points], 0.04)

    def at(x: float, y: float) -> tuple[float, float]:
        x, y = min(max(x, x0), x1), min(max(y, y0), y1)
        return round(left + width * (x - x0) / (x1 - x0), 1), round(bottom - height * (y - y0) / (y1 - y0), 1)

    marks = [_label(left, top - 10, y_name), _label(right, bottom + 32, x_name, anchor="end")]
    for value in ticks(y0, y1):
        marks += _horizontal(left, right, at(x0, value)[1], f"{value:.4g}")
    for value in ticks(x0, x1):
        marks.append(tag("line", class_="grid", x1=at(value, y0)[0], x2=at(value, y0)[0], y1=top, y2=bottom))
        marks.append(_label(at(value, y0)[0], bottom + 16, f"{value:.4g}", anchor="middle"))
    low, high = max(x0, y0), min(x1, y1)
    ends = [(at(low, low), at(high, high))] if diagonal and low < high else []
    ends += [(at(x0, baseline), at(x1, baseline))] if baseline is not None and y0 <= baseline <= y1 else []
    for (xa, ya), (xb, yb) in ends:
        marks.append(tag("line", class_="zero", stroke_dasharray="3 3", x1=xa, x2=xb, y1=ya, y2=yb))
    if len(drawn) > 1:
        marks += _key([(each.name, each.color) for each in drawn], left)
    for each in drawn:
        finite = [
            (at(x, y), each.bounds[i] if each.bounds else None)
            for i, (x, y) in enumerate(zip(each.xs, each.ys, strict=True))
            if math.isfinite(x) and math.isfinite(y)
        ]
        if each.joined:
            path = [place for place, _ in finite]
            if each.steps:
                path = (
                    [path[0], *((b[0], y) for a, b in itertools.pairwise(path) for y in (a[1], b[1]))] if path else []
                )
            marks.append(tag("polyline", class_=f"line {each.color}", points=" ".join(f"{x},{y}" for x, y in path)))
        for (x, y), bound in finite:
            if bound is not None and bound.has_bounds:
                up, down = at(x0, bound.high)[1], at(x0, bound.low)[1]
                shape = f"M{x} {up}V{down}M{x - 3} {up}H{x + 3}M{x - 3} {down}H{x + 3}"
                marks.append(tag("path", class_="whisker", d=shape))
            if each.dots:
                few = len(finite) <= _FEW_DOTS
                dot = {"class_": f"dot {each.color}", "stroke": "none", "cx": x, "cy": y, "r": 3.5 if few else 2}
                marks.append(tag("circle", **dot, fill_opacity=None if few else 0.55))
    return _figure(title, marks, right + 14, bottom + 40, label=label, style="max-width: 480px")


def band(
    segments: Sequence[tuple[float, float, str]],
    extent: float,
    classes: Sequence[str],
    *,
    label: str,
    below: Sequence[tuple[float, float, str]] | None = None,
) -> Markup:
    """Labeled segments over a length, above a line, and others below it.

    Args:
        segments: (start, end, class) above the line.
        extent: Where the length ends; it starts at 0.
        classes: All classes, for their colors.
        label: What a screen reader says.
        below: Likewise below the line.
    """
    width, extent = 360, max(extent, 1e-9)
    marks = [tag("line", class_="grid", x1=0, x2=width, y1=20, y2=20)]
    for top, drawn in ((2, segments), (22, below or ())):
        for start, end, name in drawn:
            x, wide = round(width * start / extent, 1), max(width * (min(end, extent) - start) / extent, 1.0)
            color = class_color(name, classes)
            box = {"x": x, "y": top, "width": round(wide, 1), "height": 16}
            marks.append(tag("rect", tag("title", name), class_=f"dot c{color}", fill_opacity=0.35, **box))
            if wide > 7 * len(name) + 6:
                marks.append(tag("text", name, class_="key", x=round(x + 4, 1), y=top + 12))
    height = 22 if below is None else 40
    return tag("svg", *marks, class_="band", viewBox=f"0 0 {width} {height}", role="img", aria_label=label)


def class_color(name: str, classes: Sequence[str]) -> int:
    """The number of a class's color, which classes share where they are many."""
    return list(classes).index(name) % _NUM_COLORS if name in classes else _NUM_COLORS - 1


def ticks(low: float, high: float) -> list[float]:
    """Three to six round values inside [low, high]."""
    spread = high - low
    if spread <= 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(spread / 3))
    step *= next((factor for factor in (1, 2, 5) if spread / (step * factor) <= 6), 10)
    first = math.ceil(low / step)
    return [round((first + i) * step, 12) for i in range(int((high - first * step) / step + 1e-9) + 1)]


def _figure(
    title: str, marks: Sequence[Markup], width: _Pixels, height: _Pixels, *, label: str, style: str | None = None
) -> Markup:
    drawing = tag("svg", *marks, viewBox=f"0 0 {width} {height}", role="img", aria_label=label)
    return tag("figure", tag("figcaption", title), drawing, style=style)


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """The values' range with some room at both ends."""
    low, high = min(values), max(values)
    pad = share * (high - low) or share * abs(high) or 1.0
    return low - pad, high + pad


def _whisker(low: _Pixels, high: _Pixels, y: _Pixels, half: int) -> Markup:
    path = f"M{low} {y}H{high}M{low} {y - half}V{y + half}M{high} {y - half}V{y + half}"
    return tag("path", class_="whisker", d=path)


def _horizontal(left: _Pixels, right: _Pixels, y: _Pixels, name: str) -> list[Markup]:
    """A grid line and its value."""
    return [tag("line", class_="grid", x1=left, x2=right, y1=y, y2=y), _label(left - 6, y + 4, name, anchor="end")]


def _label(x: _Pixels, y: _Pixels, name: str, *, anchor: str | None = None) -> Markup:
    return tag("text", name, class_="axis", x=x, y=y, text_anchor=anchor)


def _key(entries: Sequence[tuple[str, str]], left: _Pixels) -> list[Markup]:
    """Names beside a piece of their lines."""
    marks = []
    for name, color in entries:
        marks.append(tag("line", class_=f"line {color}", x1=left, x2=left + 22, y1=10, y2=10))
        marks.append(tag("text", name, class_="key", x=left + 27, y=14))
        left += 44 + 7 * len(name)
    return marks

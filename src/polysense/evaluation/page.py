"""The pieces that the report is drawn with: one style sheet, tables, and marks in SVG.

Drawn by hand, not by matplotlib: bars with intervals, a heat map and two curves are rectangles and lines, and importing
matplotlib at the end of a training run would add 34 MiB and 0.6 s to it. Colours are CSS variables, so the page follows
the reader's light or dark setting; what a colour says is also said by a word or a sign. Everything that comes from a
table (names of columns, classes, files) goes through `text`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from polysense.evaluation.bootstrap import Interval

__all__ = ["curve", "document", "number", "span", "table", "text", "ticks", "track"]

_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def document(title: str, body: str, *, media: bool = False) -> str:
    """A whole page that loads nothing and runs nothing, whatever a name in it tries.

    Args:
        title: Of the window.
        body: As HTML.
        media: Whether it holds pictures and sounds.
    """
    allowed = "; img-src data:; media-src data:" if media else ""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'"
        f'{allowed}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """A value from outside, safe in HTML and in attributes.

    Control characters and those that turn the direction of writing become visible: they could make one name look like
    another.
    """
    shown = "".join(f"\\u{ord(c):04x}" if c < " " or "\x7f" <= c <= "\x9f" or c in _BIDI else c for c in str(value))
    return html.escape(shown, quote=True)


def number(value: float) -> str:
    """Three decimals, fewer for what is large, a dash for what is undefined."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    shown = f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return "0.000" if shown == "-0.000" else shown.replace("-", "−")


def span(found: Interval, *, reason: str = "") -> str:
    """A value over its interval; for what is undefined a dash that says why when pointed at."""
    if not math.isfinite(found.value):
        return f'<span title="{text(reason)}">–</span>' if reason else "–"
    bounds = f'<span class="range">{number(found.low)} to {number(found.high)}</span>' if found.has_bounds else ""
    return number(found.value) + bounds


def track(found: Interval, domain: tuple[float, float], *, kind: str, label: str) -> str:
    """A bar from 0 to the value with its interval as a whisker, on a scale that a column of bars shares.

    Args:
        found: The value.
        domain: The values at the left and the right edge; holds 0.
        kind: "model", "good", "bad" or "" (neutral).
        label: What a screen reader says.
    """
    low, high = domain
    width = (high - low) or 1.0

    def x(value: float) -> float:
        return round(1000 * (min(max(value, low), high) - low) / width, 1)

    marks = [f'<line class="zero" x1="{x(0.0)}" x2="{x(0.0)}" y1="0" y2="30"/>']
    if math.isfinite(found.value):
        left, right = sorted((x(0.0), x(found.value)))
        marks.insert(0, f'<rect class="bar {kind}" x="{left}" y="8" width="{round(right - left, 1)}" height="14"/>')
    if found.has_bounds:
        a, b = x(found.low), x(found.high)
        marks.append(f'<path class="whisker" d="M{a} 15H{b}M{a} 10V20M{b} 10V20"/>')
    head = f'<svg viewBox="-4 0 1008 30" preserveAspectRatio="none" role="img" aria-label="{text(label)}">'
    return f"{head}{''.join(marks)}</svg>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, classes: Sequence[str], own: int = -1, caption: str = ""
) -> str:
    """A table; the first cell of a row is its name.

    Args:
        head: Column heads, as HTML.
        rows: Cells, as HTML.
        classes: Each column's CSS class.
        own: The row to set in bold.
        caption: As HTML.
    """
    parts = [f"<caption>{caption}</caption>"] if caption else []
    heads = "".join(f'<th scope="col" class="{kind}">{cell}</th>' for cell, kind in zip(head, classes, strict=True))
    parts.append(f"<thead><tr>{heads}</tr></thead><tbody>")
    for i, row in enumerate(rows):
        cells = "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row[1:], classes[1:], strict=True))
        parts.append(f'<tr{" class=own" if i == own else ""}><th scope="row">{row[0]}</th>{cells}</tr>')
    return f"<table>{''.join(parts)}</tbody></table>"


def curve(title: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, mark: float | None = None) -> str:
    """Up to four lines over the epochs.

    Args:
        title: What is drawn.
        lines: (name, points); points that are not finite are left out.
        mark: An epoch to mark, the best one.
    """
    finite = [(name, [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])]) for name, points in lines]
    drawn = [(name, points) for name, points in finite if points][:4]
    points = [point for _, line in drawn for point in line]
    if not points:
        return ""
    left, top, width, height = 52, 26, 420, 190
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    pad = 0.05 * (y1 - y0) or 0.05 * abs(y1) or 1.0
    y0, y1 = y0 - pad, y1 + pad

    def at(point: tuple[float, float]) -> tuple[float, float]:
        share = (point[0] - x0) / (x1 - x0) if x1 > x0 else 0.5
        return round(left + width * share, 1), round(top + height * (1 - (point[1] - y0) / (y1 - y0)), 1)

    marks = []
    for value in ticks(y0, y1):
        y = at((x0, value))[1]
        marks.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y}" y2="{y}"/>')
        marks.append(f'<text class="axis" x="{left - 6}" y="{y + 4}" text-anchor="end">{value:.4g}</text>')
    for epoch in sorted({x0, *(v for v in ticks(x0, x1) if v == round(v)), x1}):
        if epoch in (x0, x1) or width * min(epoch - x0, x1 - epoch) / (x1 - x0) > 26:
            x = at((epoch, y0))[0]
            marks.append(f'<text class="axis" x="{x}" y="{top + height + 16}" text-anchor="middle">{epoch:g}</text>')
    if mark is not None and x0 <= mark <= x1:
        x = at((mark, y0))[0]
        marks.append(f'<line class="zero" stroke-dasharray="3 3" x1="{x}" x2="{x}" y1="{top}" y2="{top + height}"/>')
        anchor = "end" if x > left + width / 2 else "start"
        # Late in the run a falling line has left the top free, a rising one the bottom.
        y = top + 10 if drawn[0][1][0][1] > drawn[0][1][-1][1] else top + height - 6
        marks.append(f'<text class="axis" x="{x}" y="{y}" text-anchor="{anchor}">&#160;best epoch&#160;</text>')
    key = left
    for i, (name, line) in enumerate(drawn):
        places = [at(point) for point in line]
        path = " ".join(f"{x},{y}" for x, y in places)
        marks.append(f'<polyline class="line c{i}" points="{path}"/>')
        if len(places) <= 40:
            marks += [f'<circle class="dot c{i}" stroke="none" cx="{x}" cy="{y}" r="2.5"/>' for x, y in places]
        marks.append(f'<line class="line c{i}" x1="{key}" x2="{key + 22}" y1="10" y2="10"/>')
        marks.append(f'<text class="key" x="{key + 27}" y="14">{text(name)}</text>')
        key += 44 + 7 * len(name)
    label = text(f"{title} by epoch")
    return (
        f'<figure><figcaption>{text(title)}</figcaption><svg viewBox="0 0 {left + width + 12} {top + height + 24}" '
        f'role="img" aria-label="{label}">{"".join(marks)}</svg></figure>'
    )


def ticks(low: float, high: float) -> list[float]:
    """Three to six round values inside [low, high]."""
    spread = high - low
    if spread <= 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(spread / 3))
    step *= next((factor for factor in (1, 2, 5) if spread / (step * factor) <= 6), 10)
    first = math.ceil(low / step)
    return [round((first + i) * step, 12) for i in range(int((high - first * step) / step + 1e-9) + 1)]

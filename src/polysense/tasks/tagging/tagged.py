"""Labelled segments of one row, true and predicted: marked in their text, or as two bands over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.evaluation.page import text

__all__ = ["Marked", "Segment", "marked_html", "spelled"]

_KINDS = 4  # colours that the style sheet has for what belongs together
_WIDTH = 1000
_LONGEST = 4_000  # characters of a text that are shown

Segment = tuple[float, float, str]
"""Start, end (characters or seconds) and class."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Marked:
    """Segments and what they lie in.

    Attributes:
        content: The text; None: a sound, whose segments are seconds.
        extent: Where it ends.
        truth: What is true.
        predicted: What was predicted.
        classes: All classes, for their colours.
    """

    content: str | None
    extent: float
    truth: Sequence[Segment]
    predicted: Sequence[Segment]
    classes: Sequence[str]


def spelled(content: str | None, segments: Sequence[Segment]) -> str:
    """Segments in words: a text with brackets, "[Ada](PER) is here", or seconds, "0.5 to 1.2 s dog"."""
    if content is None:
        return "; ".join(f"{start:g} to {end:g} s {label}" for start, end, label in segments) or "no segment"
    return "".join(part if label is None else f"[{part}]({label})" for part, label in _parts(content, segments))


def marked_html(marked: Marked) -> str:
    """What is true above what was predicted."""
    lines = []
    for name, segments in (("wanted", marked.truth), ("came out last", marked.predicted)):
        shown = _text(marked, segments) if marked.content is not None else _band(marked, segments)
        lines.append(f'<div class="reference"><span class="mute small">{name}</span><div>{shown}</div></div>')
    return "".join(lines)


def _parts(content: str, segments: Sequence[Segment]) -> list[tuple[str, str | None]]:
    """The text cut where segments begin and end; one that overlaps another is cut to what is left."""
    parts: list[tuple[str, str | None]] = []
    at = 0
    for start, end, label in sorted(segments, key=lambda one: one[:2]):
        first, last = max(int(start), at), int(end)
        if last <= first:
            continue
        if first > at:
            parts.append((content[at:first], None))
        parts.append((content[first:last], label))
        at = last
    if at < len(content):
        parts.append((content[at:], None))
    return parts


def _text(marked: Marked, segments: Sequence[Segment]) -> str:
    assert marked.content is not None
    shown = []
    for part, label in _parts(marked.content[:_LONGEST], [one for one in segments if one[0] < _LONGEST]):
        inside = "<br>".join(text(line) for line in part.split("\n"))
        if label is None:
            shown.append(inside)
        else:
            shown.append(f'<mark class="c{_colour(marked, label)}">{inside}<small>{text(label)}</small></mark>')
    more = f" … and {len(marked.content) - _LONGEST:,} more characters" if len(marked.content) > _LONGEST else ""
    return f'<bdi dir="auto" class="written">{"".join(shown)}{more}</bdi>'


def _band(marked: Marked, segments: Sequence[Segment]) -> str:
    extent = max(marked.extent, 1e-9)
    marks = [f'<line class="grid" x1="0" x2="{_WIDTH}" y1="20" y2="20"/>']
    for start, end, label in segments:
        x, width = _WIDTH * start / extent, max(_WIDTH * (min(end, extent) - start) / extent, 1.0)
        box = f'x="{x:.1f}" y="2" width="{width:.1f}" height="16"'
        marks.append(f'<rect class="dot c{_colour(marked, label)}" {box}><title>{text(label)}</title></rect>')
        if width > 9 * len(label) + 6:
            marks.append(f'<text class="key" x="{x + 4:.1f}" y="14">{text(label)}</text>')
    said = text(spelled(None, segments))
    return (
        f'<svg viewBox="0 0 {_WIDTH} 22" role="img" aria-label="{said}">{"".join(marks)}</svg>'
        f'<span class="mute small">{said}, of {extent:.1f} s</span>'
    )


def _colour(marked: Marked, label: str) -> int:
    return list(marked.classes).index(label) % _KINDS if label in marked.classes else _KINDS - 1

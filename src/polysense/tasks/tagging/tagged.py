"""Labeled segments of one row, true and predicted: marked in their text, or as two bands over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysense.core.report_section import ReportSection

__all__ = ["Marked", "Segment", "marked_section", "spelled"]

_MAX_CHARACTERS = 4_000  # of a text that are shown

Segment = tuple[float, float, str]
"""Start, end (characters or seconds) and class."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Marked:
    """Segments and what they lie in.

    Attributes:
        content: The text; None: audio, whose segments are in seconds.
        extent: Where it ends.
        truth: What is true.
        predicted: What was predicted.
        classes: All classes, for their colors.
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


def marked_section(marked: Marked) -> ReportSection:
    """True segments above the predicted ones: in the start of their text, cut where segments start and end."""
    lines = []
    for name, segments in (("target", marked.truth), ("latest prediction", marked.predicted)):
        parts = None
        if marked.content is not None:
            early = [one for one in segments if one[0] < _MAX_CHARACTERS]
            parts = _parts(marked.content[:_MAX_CHARACTERS], early)
        lines.append((name, segments, spelled(None, segments), parts))
    values = {
        "lines": lines,
        "extent": max(marked.extent, 1e-9),
        "classes": marked.classes,
        "num_more": len(marked.content or "") - _MAX_CHARACTERS,
    }
    return ReportSection(template="polysense.tasks.tagging:marked.html.j2", values=values)


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

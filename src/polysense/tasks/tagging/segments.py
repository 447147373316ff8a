"""Tags and segments: two spellings of the same labeling of a sequence.

BIO ("inside, outside, beginning"; Ramshaw and Marcus, "Text chunking using transformation-based learning", 1995, in its
form IOB2) marks where a segment begins, so that two of one class may touch. BILOU and IOBES also mark the last step and
segments of one step; both are read here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["OUTSIDE", "has_prefixes", "segments_of_tags"]

OUTSIDE = "O"
"""The tag of a step that is in no segment."""

_TAG = re.compile(r"([BILUSEM])[-_](.+)", re.DOTALL)


def has_prefixes(tags: Sequence[str]) -> bool:
    """Whether tags spell segments: every one is O or has a prefix, and not all are O."""
    results = [_TAG.fullmatch(tag) for tag in tags if tag != OUTSIDE]
    return bool(results) and all(results)


def segments_of_tags(tags: Sequence[str], *, strict: bool = False) -> list[tuple[int, int, str]]:
    """The segments that BIO, BILOU or IOBES tags spell.

    Args:
        tags: One per step.
        strict: Whether a segment counts only if it begins with B (or is U or S), as seqeval's strict mode has it. Else
            one that begins otherwise, after O or after another class, begins there, as in the CoNLL-2000 script.

    Returns:
        (start, end, class) in order, the end not included.
    """
    results: list[tuple[int, int, str]] = []
    start, current = 0, ""
    closed = True  # after L, U, E or S the segment can't go on

    def end(position: int) -> None:
        nonlocal current
        if current:
            results.append((start, position, current))
        current = ""

    for position, tag in enumerate(tags):
        match = _TAG.fullmatch(tag)
        if match is None:
            end(position)
            continue
        prefix, name = match[1], match[2]
        if prefix in "BUS" or closed or name != current:
            end(position)
            if prefix in "BUS" or not strict:
                start, current = position, name
        closed = prefix in "LUES"
    end(len(tags))
    return results

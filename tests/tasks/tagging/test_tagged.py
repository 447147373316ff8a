"""Segments in words and marked in their text."""

from __future__ import annotations

from polysense.reports.environment import render_section
from polysense.tasks.tagging.tagged import Marked, marked_section, spelled

TEXT = "Ada met <b>Bo</b>."
SEGMENTS = [(0.0, 3.0, "PER"), (11.0, 13.0, "<i>")]


def test_segments_stand_in_brackets_in_their_text_or_as_seconds() -> None:
    assert spelled(TEXT, SEGMENTS) == "[Ada](PER) met <b>[Bo](<i>)</b>."
    assert spelled(TEXT, []) == TEXT
    assert spelled("abc", [(0.0, 2.0, "x"), (1.0, 3.0, "y")]) == "[ab](x)[c](y)", "what overlaps is cut"
    assert spelled(None, [(0.5, 1.25, "dog")]) == "0.5 to 1.25 s dog"
    assert spelled(None, []) == "no segment"


def test_marks_on_the_page() -> None:
    marked = Marked(content=TEXT, extent=18.0, truth=SEGMENTS, predicted=[], classes=("PER", "<i>"))
    listed = render_section(marked_section(marked))
    assert listed.count("<mark") == 2
    assert "<i>" not in listed
    assert "<b>" not in listed
    assert '<mark class="c0">Ada' in listed
    assert "latest prediction" in listed
    clip = Marked(content=None, extent=2.0, truth=[(0.5, 1.5, "dog")], predicted=[], classes=("dog",))
    listed = render_section(marked_section(clip))
    assert 'x="90.0"' in listed
    assert 'width="180.0"' in listed
    assert "no segment, of 2.0 s" in listed

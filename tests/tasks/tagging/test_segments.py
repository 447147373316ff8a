"""Tags as segments."""

from __future__ import annotations

import pytest

from polysense.tasks.tagging.segments import has_prefixes, segments_of_tags


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-A I-A O B-B", [(0, 2, "A"), (3, 4, "B")]),
        ("B-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        # What begins with I begins there: after O, and after another class (IOB1).
        ("I-A I-A O I-B I-A", [(0, 2, "A"), (3, 4, "B"), (4, 5, "A")]),
        ("B-A L-A U-A U-B B-B I-B L-B", [(0, 2, "A"), (2, 3, "A"), (3, 4, "B"), (4, 7, "B")]),
        ("B-A I-A E-A S-A I-A", [(0, 3, "A"), (3, 4, "A"), (4, 5, "A")]),
        ("B-New-York I-New-York", [(0, 2, "New-York")]),
    ],
)
def test_every_scheme(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert segments_of_tags(tags.split()) == expected


def test_strict_counts_only_what_begins() -> None:
    assert segments_of_tags(["I-A", "B-A", "I-B", "I-B", "B-B", "I-B"], strict=True) == [(1, 2, "A"), (4, 6, "B")]


def test_prefixes_are_all_or_none() -> None:
    assert has_prefixes(["O", "B-A", "I-A"])
    assert not has_prefixes(["O", "O"])
    assert not has_prefixes(["NOUN", "VERB", "B-A"])

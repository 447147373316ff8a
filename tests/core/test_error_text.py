"""One line of an error, whatever it says."""

from __future__ import annotations

import pytest

from polysense.core.error_text import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n first\nsecond"), "first"),
        (ValueError("one line"), "one line"),
        (KeyError(), "KeyError"),
        (OSError(" \n"), "OSError"),
    ],
)
def test_an_error_has_a_first_line(error: BaseException, line: str) -> None:
    assert first_line(error) == line


def test_a_line_is_cut() -> None:
    assert first_line(ValueError("x" * 900), 300) == "x" * 300
    assert len(first_line(ValueError("x" * 900))) == 900

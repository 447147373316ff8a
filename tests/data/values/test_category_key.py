"""Classes that look like one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import polysense
from polysense.data.values.category_key import case_note


def test_classes_that_differ_in_case_alone_are_named() -> None:
    note = case_note(["no", "YES", "Yes", "yes", "a", "A"])
    assert note is not None
    assert note.startswith("'YES', 'Yes', 'yes' differ in upper and lower case alone: each is a class of its own")
    two = case_note(["no", "No", "x1", "X1"])
    assert two is not None
    assert "and so does" not in two
    assert "and so do 1 more groups" in two


@pytest.mark.parametrize("names", [["a", "A", "b", "B"], ["yes", "no"], []])
def test_letters_are_classes(names: list[str]) -> None:
    assert case_note(names) is None


def test_check_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = ["Yes", "yes ", "no", "no"]
    path = tmp_path / "t.csv"
    path.write_text("x,label\n" + "".join(f"{i * 7 % 13},{labels[i % 4]}\n" for i in range(40)), encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="polysense"):
        result = polysense.check(path, target="label")
    assert any("differ in upper and lower case alone" in warning for warning in result.warnings)

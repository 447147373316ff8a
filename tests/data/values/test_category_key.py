"""Classes that look like one."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polysense
from polysense.data.values import category_key as module
from polysense.data.values.category_key import case_note, category_key, num_categories


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


ODD = [
    "1",
    "1.0",
    "1.00",
    "-0.0",
    "0",
    "True",
    "true",
    "FALSE",
    " a",
    "a",
    "a ",
    "e\u0301",
    "\u00e9",
    "\u200b",
    "",
    "x\n",
]


@given(
    texts=st.lists(
        st.one_of(st.none(), st.sampled_from(ODD), st.text(st.characters(codec="utf-8"), max_size=3)), max_size=40
    )
)
def test_categories_of_many_texts_are_counted_as_of_few(texts: list[str | None]) -> None:
    texts = [text for text in texts if text != ""]  # which is missing
    expected = len({category_key(text) for text in texts} - {None})
    series = pl.Series(texts, dtype=pl.String)
    assert num_categories(series) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SHORT", 0)
        patch.setattr(module, "_AT_ONCE", 3)
        assert num_categories(series) == expected

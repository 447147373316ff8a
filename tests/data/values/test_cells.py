"""Whole columns of cells are what their cells are one by one."""

from __future__ import annotations

import polars as pl
import pytest

from polysense.data.values.cells import clean, clean_all

TEXTS = [
    None, "", "  ", "NA", " nan ", "null", "#N/A", " #N/A", "none", "None", "red", " red ", "[]", "[", "]", "a[0]",
    '["a.png", "b.png"]', "['a', 'b']", "[null]", ' ["x"] ', "[1, 2", "\u00a0", "\t", "0", "-",
]  # fmt: skip


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("spelled", [False, True])
def test_a_column_of_texts_is_its_cells(literal: bool, spelled: bool) -> None:
    expected = [clean(text, literal, spelled) for text in TEXTS]
    assert clean_all(pl.Series(TEXTS, dtype=pl.String), literal, spelled) == expected
    assert None in expected
    assert "red" in expected
    assert spelled == any(isinstance(cell, list) for cell in expected)

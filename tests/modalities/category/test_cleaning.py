"""Variants of a value: one spelling for all, the commonest of the training rows."""

from __future__ import annotations

import pytest

from polysense.data.cleaning import CellCleaner
from polysense.modalities.category.cleaning import MergeVariantsConfig


@pytest.mark.parametrize(
    ("config", "cells", "expected"),
    [
        (MergeVariantsConfig(), ["Cat", "cat", "cat ", "DOG"], ["cat", "cat", "cat", "DOG"]),
        (MergeVariantsConfig(), ["b", "B"], ["B", "B"]),  # of equals the first by name
        (MergeVariantsConfig(case=False), ["Cat", "cat", "cat  x", "cat x"], ["Cat", "cat", "cat x", "cat x"]),
        (MergeVariantsConfig(), ["stra\u00dfe", "STRASSE", "stra\u00dfe"], ["stra\u00dfe"] * 3),
        (MergeVariantsConfig(), ["cafe\u0301", "caf\u00e9"], ["caf\u00e9", "caf\u00e9"]),
        (MergeVariantsConfig(), ["ice-cream", "ice cream"], ["ice-cream", "ice cream"]),
        (MergeVariantsConfig(separators=True), ["ice-cream", "ice cream", "Ice_Cream"], ["Ice_Cream"] * 3),
        (MergeVariantsConfig(), [["a", "A"], None, "a"], [["a", "a"], None, "a"]),
    ],
)
def test_variants(config: MergeVariantsConfig, cells: list[object], expected: list[object]) -> None:
    cleaner = CellCleaner([config])
    assert cleaner.fitted(cells) == expected
    assert [CellCleaner.restored(cleaner.plain()).cell(cell) for cell in cells] == expected


def test_a_value_that_training_did_not_know_is_only_trimmed() -> None:
    cleaner = CellCleaner([MergeVariantsConfig()])
    cleaner.fitted(["cat", "Cat", "cat"])
    assert [cleaner.cell(cell) for cell in ("CAT", " New  Thing")] == ["cat", "New Thing"]

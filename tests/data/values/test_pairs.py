"""Two numbers in one cell: never read in one way of several, and never without a word."""

import random

import pytest

from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table
from polysense.data.values.pairs import describe_pairs

DRAW = random.Random(2)


@pytest.mark.parametrize("mark", ["/", ":", " / "])
@pytest.mark.parametrize("top", [4, 12, 180])
def test_a_column_of_pairs_says_what_they_may_be(mark: str, top: int):
    cells = [f"{DRAW.randint(1, top)}{mark}{DRAW.randint(1, 9)}" for _ in range(200)]
    table = read_table({"x": [DRAW.random() for _ in cells], "portion": cells, "y": ["a", "b"] * 100})
    guess = infer(table, ["y"])[1]
    assert "may be fractions, days and months, or two numbers each" in guess.reason
    assert cells[0].strip()[:1].isdigit()
    if guess.modality is not None and guess.role.value == "input":
        assert any("not read as numbers" in warning for warning in guess.warnings)


@pytest.mark.parametrize(
    "cells",
    [["1/2/2024"] * 30 + ["2/3/2024"], ["a/b", "c/d"] * 20, ["1/2"] * 30, ["1.5", "2"] * 20, [1.5, 2.5] * 20, []],
)
def test_what_is_no_pair(cells: list):
    assert describe_pairs(cells) is None


def test_fractions_among_numbers_are_counted():
    text = describe_pairs(["1/2", "1/4", "3/4", "1", "2"] * 10)
    assert text is not None
    assert "30 of 50" in text

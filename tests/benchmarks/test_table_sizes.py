"""The made table is the same every time, and each command's cost is that of its own process."""

from __future__ import annotations

from pathlib import Path

import pytest

import table_sizes
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table


def test_the_table_has_numbers_a_category_and_a_text(tmp_path: Path) -> None:
    frame = table_sizes.made_table(2_000)
    assert frame.equals(table_sizes.made_table(2_000))
    frame.write_csv(tmp_path / "t.csv")
    guesses = infer(read_table(tmp_path / "t.csv"), ["label"])
    assert [guess.modality for guess in guesses[:4]] == ["number", "number", "category", "text"]
    assert guesses[4].task == "classification"


def test_a_wide_table_has_numbers_of_which_two_decide() -> None:
    frame = table_sizes.made_wide_table(20)
    assert frame.shape == (500, 21)
    assert ((frame["x0"] + frame["x1"] > 0) == (frame["label"] == "high")).all()


@pytest.mark.slow
def test_costs_and_failures() -> None:
    cost = table_sizes.measured(["--version"])
    assert cost["seconds"] > 0
    assert 10 << 20 < cost["peak"] < 8 << 30
    with pytest.raises(SystemExit, match="ended with 2"):
        table_sizes.measured(["check", "/nowhere.csv", "--target", "x"])

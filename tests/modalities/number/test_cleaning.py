"""One unit for numbers that are in several, by factors that are exact."""

from __future__ import annotations

import pytest

from polysense.data.cleaning import CellCleaner
from polysense.modalities.number.cleaning import OneUnitConfig


@pytest.mark.parametrize(
    ("unit", "cells", "expected"),
    [
        (None, ["2 kg", "3 kg", "500 g", "1 lb"], ["2 kg", "3 kg", "0.5 kg", "0.45359237 kg"]),
        (None, ["2,5 kg", "3,5 kg", "500 g"], ["2,5 kg", "3,5 kg", "0,5 kg"]),
        ("km", ["1500 m", "1 mi", "2 km"], ["1.5 km", "1.609344 km", "2 km"]),
        ("", ["5%", "0.05", "12.5 %"], ["0.05", "0.05", "0.125"]),
        ("%", ["5%", "0.05"], ["5%", "5 %"]),
        (None, ["10 kg", "5 m", "n/a", "<3 g", "20 kg"], ["10 kg", "5 m", "n/a", "<3 g", "20 kg"]),
        ("h", ["90 min", "1 d", "2 hours"], ["1.5 h", "24 h", "2 hours"]),
    ],
)
def test_cells_in_one_unit(unit: str | None, cells: list[object], expected: list[object]) -> None:
    cleaner = CellCleaner([OneUnitConfig(unit=unit)])
    assert cleaner.fitted(cells) == expected
    assert [CellCleaner.restored(cleaner.plain()).cell(cell) for cell in cells] == expected


def test_the_training_cells_unit_is_the_one_of_later_cells() -> None:
    cleaner = CellCleaner([OneUnitConfig()])
    cleaner.fitted(["1 g", "2 g"])
    assert cleaner.cell("3 kg") == "3000 g"
    assert cleaner.cell(4) == 4

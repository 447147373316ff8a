"""Columns that are read all at once say what they say cell by cell."""

from __future__ import annotations

import dataclasses
import random

import pytest

from polysense.data.values import notation
from polysense.data.values.notation import NotationEvidence
from polysense.data.values.plain_numbers import PlainNumbers


def drawn(draws: random.Random, share_of_integers: float, lengths: list[int]) -> str:
    text = draws.choice(["", "", "-", "+", " "]) + draws.choice(["0", "7", "12", "123", "1234", "01", "000", "999"])
    if draws.random() < share_of_integers:
        return text
    return f"{text}.{''.join(draws.choices('0123456789', k=draws.choice(lengths)))}"


def test_evidence_is_that_of_the_cells_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = random.Random(0)
    num_plain = 0
    for _ in range(1_500):
        lengths = draws.choice([[1], [2], [3], [1, 2, 3], [4, 6], [3, 7], [2, 3], [16, 3]])
        share = draws.random()
        cells: list[object] = [drawn(draws, share, lengths) for _ in range(draws.choice([1, 3, 10, 25, 40]))]
        if draws.random() < 0.3:
            cells.insert(
                draws.randrange(len(cells) + 1), draws.choice([None, "abc", "1,5", "", 3.5, "5 kg", "1e3", "."])
            )
        at_once = NotationEvidence.of(cells)
        with monkeypatch.context() as patch:
            patch.setattr(notation, "_of_plain", lambda cells: None)
            one_by_one = NotationEvidence.of(cells)
            patch.undo()
            patch.setattr(notation, "_AT_ONCE", 7)
            in_parts = NotationEvidence.of(cells)
        assert dataclasses.asdict(in_parts) | {"values": [*in_parts.values]} == dataclasses.asdict(at_once)
        num_plain += PlainNumbers.of([cell.strip() for cell in cells if isinstance(cell, str)]) is not None
        assert dataclasses.asdict(at_once) == dataclasses.asdict(one_by_one), cells
    assert num_plain > 500  # or nothing was compared


def test_a_point_that_may_stand_between_thousands_needs_one_that_may_not() -> None:
    assert PlainNumbers.of(["1.234", "12"]) is None
    result = PlainNumbers.of(["1.234", "12", "0.5"])
    assert result is not None
    assert (list(result.values), result.num_decimals, result.unclear) == ([1.234, 12.0, 0.5], {1: 1}, ["1.234"])


@pytest.mark.parametrize("odd", ["1,5", "5 kg", "", "1.", ".5", "1e3", "١٢", "1\n2", "0x1", "inf", "1" * 31])
def test_other_spellings_are_left_to_the_notation(odd: str) -> None:
    assert PlainNumbers.of(["0.5", odd, "2"]) is None

"""How well one column tells another, of many rows as of few."""

import numpy as np
import polars as pl
import pytest

from polysense.data.roles import leaks


@pytest.mark.parametrize("kind", [pl.String, pl.Int64, pl.Float64])
@pytest.mark.parametrize("many", [True, False])
def test_pairs_that_are_counted_in_parts_tell_the_same(
    many: bool, kind: type[pl.DataType], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    numbers = chance.integers(0, 40, 500)
    known = np.where(chance.random(500) < 0.8, numbers % 5, chance.integers(0, 5, 500))
    y = pl.Series(known).cast(kind).set(pl.Series(chance.random(500) < 0.1), None)
    pair = (pl.Series(numbers).cast(kind), y) if many else (y, pl.Series(numbers).cast(kind))
    at_once = leaks.tells(*pair)
    assert (0.6 if many else 0.05) < at_once[0] < 0.95
    monkeypatch.setattr(leaks, "_COUNTED_ROWS", 60)
    assert leaks.tells(*pair) == at_once

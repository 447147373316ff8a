"""Cells that decide a class on one side, set against chance; and random tables, of which hardly one may be flagged."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from polysense.data.roles.infer import infer
from polysense.data.roles.one_sided import OneSided, _Chance
from polysense.data.tables.sources import read_table

RNG = np.random.default_rng(7)
LABELS = ["ill" if u < 0.5 else "well" for u in RNG.random(300)]


def decides(cells: list[object], labels: list[str] = LABELS, **kinds: bool) -> str | None:
    return OneSided(pl.Series(labels), 10).describe(pl.Series(cells), **{"discrete": False, "numeric": False, **kinds})


def test_a_missing_cell() -> None:
    cells = [None if label == "well" and i % 3 == 0 else f"text {i}" for i, label in enumerate(LABELS)]
    count = sum(cell is None for cell in cells)
    assert decides(cells) == (
        f"is 'well' in all {count} rows in which the cell is missing "
        f"({LABELS.count('well') / 300:.0%} of all rows are 'well')"
    )
    there = [f"text {i}" if label == "well" and i % 3 == 0 else None for i, label in enumerate(LABELS)]
    assert "the cell is there" in str(decides(there))


def test_a_value() -> None:
    cells = ["0" if label == "ill" and i % 3 == 0 else str(1 + i % 4) for i, label in enumerate(LABELS)]
    assert "in which the cell is '0'" in str(decides(cells, discrete=True))


@pytest.mark.parametrize("cells", ["at most 0 (", "at least 100 (", " to 60 ("])
def test_a_range(cells: str) -> None:
    values = RNG.normal(20, 3, 300)
    values[[i for i, label in enumerate(LABELS) if label == "well"][:2]] = 4, 36  # the others' range is of both classes
    own = np.array([label == "ill" and i % 2 == 0 for i, label in enumerate(LABELS)])
    low, high = {"at most 0 (": (-20, 0), "at least 100 (": (100, 120), " to 60 (": (40, 60)}[cells]
    values[own] = np.linspace(low, high, own.sum())
    values[~own & (np.arange(300) % 10 == 0)] += 70 if cells == " to 60 (" else 0
    assert cells in str(decides(values.tolist(), numeric=True))


def test_too_few_rows_are_chance() -> None:
    cells = [None if label == "well" and i < 12 else "x" for i, label in enumerate(LABELS)]
    assert decides(cells) is None


def test_chance_is_hypergeometric() -> None:
    chance = _Chance(np.array([7, 5]))
    assert chance(3) == pytest.approx((math.comb(7, 3) + math.comb(5, 3)) / math.comb(12, 3))
    assert chance(6) == pytest.approx(math.comb(7, 6) / math.comb(12, 6))


def test_a_table_of_noise_is_rarely_flagged() -> None:
    """At most 5% of random tables, of any number of rows, classes, columns and missing cells."""
    flagged, tables = 0, 200
    for seed in range(tables):
        rng = np.random.default_rng([11, seed])
        count, classes, width = int(rng.integers(60, 300)), int(rng.integers(2, 6)), int(rng.integers(3, 12))
        answer = pl.Series([f"c{k}" for k in rng.choice(classes, count, p=rng.dirichlet(np.full(classes, 2.0)))])
        looked, results = OneSided(answer, width), []
        for j in range(width):
            draws = [
                pl.Series(rng.normal(size=count).round(2)),
                pl.Series(rng.integers(0, 30, count)),
                pl.Series([f"v{v}" for v in rng.integers(0, 9, count)]),
                pl.Series(rng.lognormal(size=count).round(1)),
            ][j % 4]
            gone = rng.random(count) < rng.random() * 0.8 * (rng.random() < 0.5)
            column, numeric = draws.set(pl.Series(gone), None), j % 4 != 2
            results.append(looked.describe(column, discrete=not numeric, numeric=numeric))
        flagged += any(results)
    assert flagged <= 0.05 * tables


def test_inference_tells_of_it() -> None:
    score = [
        0 if label == "ill" and i % 3 == 0 else int(v)
        for i, (label, v) in enumerate(zip(LABELS, RNG.integers(1, 90, 300), strict=True))
    ]
    guess = infer(read_table({"score": score, "y": LABELS}), ["y"])[0]
    count = score.count(0)
    assert f"the target 'y' is 'ill' in all {count} rows in which the cell is at most 0" in guess.reason
    assert guess.role == "input"
    assert guess.warnings


def test_limits_are_values_too() -> None:
    growth = [math.inf if label == "ill" and i % 3 == 0 else i % 50 + 0.5 for i, label in enumerate(LABELS)]
    guess = infer(read_table({"growth": growth, "y": LABELS}), ["y"])[0]
    assert f"the target 'y' is 'ill' in all {growth.count(math.inf)} rows in which the cell is inf" in guess.reason
    assert guess.role == "input"


def test_a_wide_table_logs_a_line_for_each_of_the_first_columns_and_counts_the_others(caplog):
    columns = {f"lab{i}": [0 if y == "ill" else 1 + j % 7 for j, y in enumerate(LABELS)] for i in range(30)}
    table = read_table({**columns, "y": LABELS})
    with caplog.at_level("INFO"):
        infer(table, ["y"])
    lines = [record.getMessage() for record in caplog.records]
    assert sum("is it known before" in line or "determines the target" in line for line in lines) == 10
    assert sum("20 more columns have warnings ('lab10'" in line for line in lines) == 1
    assert len({line.partition(":")[0] for line in lines}) == len(lines)
    caplog.clear()
    infer(table, ["y"], logs=False)
    assert not caplog.records

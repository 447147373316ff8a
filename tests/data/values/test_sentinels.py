"""Numbers that stand for a missing value: told from measurements, and never from a tail of a distribution."""

import itertools

import numpy as np
import pytest

from polysense.data.values.notation import NotationEvidence
from polysense.data.values.sentinels import Sentinels

RNG = np.random.default_rng(5)
COLUMNS = {
    "ages": RNG.integers(18, 91, 300).astype(float),
    "weights": np.round(RNG.normal(70, 12, 300), 1),
    "incomes": np.round(RNG.lognormal(10, 1, 300)),
    "heights above the sea": np.round(RNG.uniform(-50, 1_200, 300)),
    "temperatures": np.round(RNG.normal(8, 9, 300), 1),
    "children": RNG.integers(0, 4, 300).astype(float),
    "rates": RNG.uniform(0, 1, 300),
}


MARKS = (-999.0, -9999.0, 99_999.0, -99_999.0, 2_147_483_647.0, -32_768.0, 9.96921e36)
AMONG_THE_VALUES = ("incomes", 99_999.0)


@pytest.mark.parametrize(
    ("column", "mark"), [pair for pair in itertools.product(COLUMNS, MARKS) if pair != AMONG_THE_VALUES]
)
@pytest.mark.parametrize("count", [3, 30, 250])
def test_a_mark_that_recurs_far_away_is_named_with_its_count(column: str, mark: float, count: int):
    numbers = np.append(COLUMNS[column], np.full(count, mark))
    assert Sentinels.of(RNG.permutation(numbers)).counts == {mark: count}


@pytest.mark.parametrize(
    ("column", "mark"),
    [("ages", 999.0), ("weights", 9999.0), ("weights", 999.9), ("children", 99.0), ("rates", -1.0), ("rates", 9.99),
     ("ages", -1.0), ("ages", -9.0), ("incomes", -9.0), ("temperatures", -200.0), ("rates", 888.0)],
)  # fmt: skip
def test_what_looks_otherwise_or_lies_nearer_is_named_where_the_column_tells(column: str, mark: float):
    assert Sentinels.of(np.append(COLUMNS[column], np.full(20, mark))).counts == {mark: 20}


def test_several_marks_and_a_typing_error_beyond_them_are_told_apart():
    ages = COLUMNS["ages"][COLUMNS["ages"] < 80]
    marked = np.concatenate([ages, [777.0] * 4, [888.0] * 5, [999.0] * 6, [1e9], [-99.0] * 7])
    assert Sentinels.of(marked).counts == {-99: 7, 999: 6, 888: 5, 777: 4}
    together = np.concatenate([RNG.integers(0, 8, 200), [97] * 3, [98] * 4, [99] * 5]).astype(float)
    assert Sentinels.of(together).counts == {99: 5, 98: 4, 97: 3}


@pytest.mark.parametrize("seed", range(20))
def test_no_tail_of_a_distribution_is_a_mark(seed: int):
    rng = np.random.default_rng(seed)
    draws = [
        rng.normal(size=1000), np.round(rng.normal(size=1000) * 3), np.round(rng.exponential(5, 1000)),
        np.round(rng.lognormal(2, 1.5, 1000)), np.round(rng.pareto(1.5, 1000)), rng.poisson(2, 1000),
        rng.geometric(0.05, 1000), rng.integers(0, 2, 1000), rng.integers(0, 1000, 1000), rng.integers(-3, 4, 1000),
        rng.choice([0.99, 1.99, 4.99, 9.99, 19.99, 99.99], 1000), rng.integers(1990, 2025, 1000),
        np.where(rng.uniform(size=1000) < 0.9, 0, np.round(rng.lognormal(8, 1, 1000))), rng.integers(0, 100, 1000),
        np.where(rng.uniform(size=1000) < 0.5, 0, rng.normal(100, 3, 1000)), np.full(1000, 7.0),
    ]  # fmt: skip
    assert [Sentinels.of(np.asarray(draw, dtype=float)).counts for draw in draws] == [{}] * len(draws)


def test_one_row_and_few_rows_say_nothing():
    assert not Sentinels.of(np.append(COLUMNS["ages"], -999.0)).counts
    assert not Sentinels.of([1.0, 2.0, 3.0, -999.0, -999.0]).counts
    assert not Sentinels.of([]).counts


def test_the_warning_says_how_many_and_what_to_do():
    evidence = NotationEvidence.of(["-999"] * 12 + [str(18 + i % 70) for i in range(188)])
    (warning,) = evidence.warnings("", "data.columns.age.missing")
    assert "-999 (12 of 200)" in warning
    assert "reach from 18 to 87" in warning
    assert "data.columns.age.missing=[-999]" in warning
    assert "12 of 200 are -999" in evidence.describe()
    assert evidence.notation.read("-999") == -999.0  # never changed unasked


@pytest.mark.parametrize("cell", ["-999", "-999.0", -999, -999.0, " -999 ", "−999"])
def test_a_number_that_the_recipe_names_is_missing_however_it_is_written(cell: object):
    cells = [cell] * 12 + [str(18 + i % 70) for i in range(188)]
    evidence = NotationEvidence.of(cells, missing=(-999.0,))
    assert evidence.num_marks == 12
    assert len(evidence.values) == 188
    assert not evidence.warnings("", "data.columns.age.missing")
    assert evidence.notation.read(cell) is None
    assert evidence.notation.read("-99") == -99

"""Whole numbers that are dates: told from quantities and identifiers, and named with what they count."""

import random

import pytest

from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.tables.sources import read_table

DRAW = random.Random(1)
SECONDS = [1_704_067_200 + DRAW.randrange(90 * 86_400) for _ in range(200)]
DAYS = [20_240_000 + 100 * DRAW.randint(1, 12) + DRAW.randint(1, 28) for _ in range(200)]
SHEET = [45_000 + DRAW.randrange(300) for _ in range(200)]


def guess(name: str, cells: list[object], stated: str | None = None) -> ColumnGuess:
    table = read_table({"x": [DRAW.random() for _ in cells], name: cells})
    return infer(table, [], overrides={name: stated} if stated else None)[1]


@pytest.mark.parametrize("kind", [int, str, float])
@pytest.mark.parametrize(
    ("name", "cells", "what"),
    [("ts", SECONDS, "Unix seconds from 2024-01-0"), ("seen", [s * 1000 + 7 for s in SECONDS], "Unix milliseconds"),
     ("seen", [s * 10**6 for s in SECONDS], "Unix microseconds"), ("x1", DAYS, "days by their digits from 2024-01-"),
     ("Datum", SHEET, "days as spreadsheets count them from 2023-0"), ("order_date", SHEET, "days as spreadsheets")],
)  # fmt: skip
def test_numbers_that_are_dates_are_named_as_such_with_what_to_do(kind: type, name: str, cells: list, what: str):
    result = guess(name, [kind(cell) for cell in cells])
    assert (result.role, result.modality) == (Role.INPUT, "number")
    assert what in result.reason
    (warning,) = result.warnings
    assert what in warning
    assert f"name it under columns with its type, date (--column {name}=date)" in warning


def test_fractions_of_seconds_and_a_few_marks_for_none():
    assert "Unix seconds" in guess("ts", [s + 0.25 for s in SECONDS]).warnings[0]
    assert "Unix seconds" in guess("ts", [-1, *SECONDS]).warnings[0]


@pytest.mark.parametrize(
    ("name", "cells"),
    [("salary", [40_000 + 10 * DRAW.randrange(900) for _ in range(200)]), ("n", list(range(200))),
     ("market_cap", [int(DRAW.lognormvariate(21, 1)) for _ in range(200)]),
     ("size", [DRAW.randrange(10_000_000, 99_999_999) for _ in range(200)]),
     ("year", [DRAW.randint(1990, 2024) for _ in range(200)]), ("ms", [DRAW.randint(200, 60_000) for _ in range(200)])],
)  # fmt: skip
def test_other_numbers_stay_numbers(name: str, cells: list):
    result = guess(name, cells)
    assert result.modality in ("number", None)
    assert "its type is date" not in result.reason
    assert not result.warnings


def test_identifiers_in_a_row_are_no_time():
    result = guess("number", [1_500_000_000 + 3 * i for i in range(200)])
    assert not result.warnings


def test_days_of_a_spreadsheet_without_a_name_for_it_stay_numbers_with_a_hint():
    result = guess("value", SHEET)
    assert (result.role, result.modality) == (Role.INPUT, "number")
    assert "if they are days as spreadsheets count them from 2023-0" in result.reason
    assert "its type is date" in result.reason
    assert not result.warnings


@pytest.mark.parametrize("cells", [SECONDS, DAYS, SHEET])
def test_the_user_decides(cells: list):
    for stated in ("number", "date"):
        result = guess("ts", cells, stated)
        assert (result.role, result.modality) == (Role.INPUT, stated)


def test_dates_of_a_language_that_is_not_read_are_named_as_such():
    months = ["vendémiaire", "brumaire", "frimaire", "nivôse", "pluviôse"]
    result = guess("jour", [f"{DRAW.randint(1, 28)} {DRAW.choice(months)} 1795" for _ in range(100)])
    assert (result.role, result.modality) == (Role.IGNORED, "date")
    assert "that are not read: no month is called" in result.reason
    assert "English, German, French" in result.reason


@pytest.mark.parametrize("months", ["März April Mai Juni", "janv. févr. avr. août", "enero marzo abril mayo"])
def test_dates_of_a_language_that_is_read_are_dates(months: str):
    result = guess("when", [f"{DRAW.randint(1, 28)} {DRAW.choice(months.split())} 2024" for _ in range(100)])
    assert (result.role, result.modality) == (Role.IGNORED, "date")
    assert "dates or times such as" in result.reason

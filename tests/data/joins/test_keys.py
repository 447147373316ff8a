"""Keys of two tables: what counts as the same, and what is said where it is spelled otherwise."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.joins.config import JoinConfig
from polysense.data.joins.join import Joined, join_tables
from polysense.data.joins.keys import LEVELS, Comparison, choose_level, key_text, key_texts, match
from polysense.data.tables.sources import read_table
from polysense.errors import DecodeError, TableError


def joined(main: list[Any], side: list[Any], **settings: Any) -> Joined:
    other = {"key": side, "v": [f"of {key}" for key in side]}
    return join_tables(
        read_table({"key": main}, join={"side": other}, name="main"), {"side": JoinConfig(on="key", **settings)}
    )


def cells(result: Joined) -> list[object]:
    return result.table.frame["side.v"].to_list()


@pytest.mark.parametrize(
    ("main", "side", "level", "expected"),
    [
        ([1, 2], [2, 1], "exact", ["of 1", "of 2"]),
        ([1.0, None, 2.0], [2, 1], "exact", ["of 1", None, "of 2"]),
        (["1", "2"], [2, 1], "exact", ["of 1", "of 2"]),
        ([" a", "b"], ["a", "b "], "trimmed", ["of a", "of b "]),
        (["caf\u00e9"], ["cafe\u0301"], "trimmed", ["of cafe\u0301"]),
        (["007", "08"], [7, 8], "numbers", ["of 7", "of 8"]),
        (["7.0", "+8", "-0"], ["7", "8", "0"], "numbers", ["of 7", "of 8", "of 0"]),
        ([True, False], [False, True], "exact", ["of True", "of False"]),
    ],
)
def test_the_same_key_in_another_spelling_or_type(
    main: list[Any], side: list[Any], level: str, expected: list[Any]
) -> None:
    result = joined(main, side)
    assert (cells(result), result.configs["side"].keys) == (expected, level)
    if level != "exact":
        assert "only because keys are compared" in " ".join(result.table.joins["side"].notes)
        assert cells(joined(main, side, rows="one", keys="exact")) != expected


def test_numbers_are_not_compared_where_two_keys_would_be_one() -> None:
    result = joined(["007", "7", "9"], ["007", "7", "09"])
    assert cells(result) == ["of 007", "of 7", None]
    assert result.configs["side"].keys == "exact"


def test_types_and_case_that_keep_keys_apart_are_named() -> None:
    result = joined(["A1", "b2", "c3"], ["a1", "b2", "zz"]).table.joins["side"]
    assert result.notes == ["key: 1 more rows would have a partner if keys' case were the same"]
    other = joined(["1", "x"], [1, 2]).table.joins["side"]
    assert "key: keys are text in main and whole numbers in side" in other.notes


def test_what_can_be_no_key() -> None:
    with pytest.raises(TableError, match=r"t, column 'k': found the float 9007199254740994 as a key"):
        key_texts(pl.Series("k", [2.0**53 + 2]), "t")
    with pytest.raises(TableError, match="t, column 'k': found cells of type List"):
        key_texts(pl.Series("k", [[1]]), "t")
    assert key_texts(pl.Series("k", ["", " ", "#N/A", "NA"]), "t").to_list() == [None, None, None, "NA"]
    assert key_texts(pl.Series("k", [1.5, float("nan"), -0.0]), "t").to_list() == ["1.5", None, "0"]


@given(st.lists(st.integers(0, 30) | st.none(), max_size=20), st.lists(st.integers(0, 30) | st.none(), max_size=20))
def test_a_match_is_what_equal_integers_say(main: list[int | None], side: list[int | None]) -> None:
    here = [key_texts(pl.Series("a", main, dtype=pl.Int64), "a")]
    there = [key_texts(pl.Series("b", side, dtype=pl.Int64).cast(pl.Float64), "b")]
    result = match(here, there, choose_level(here, there))
    known = [key for key in dict.fromkeys(side) if key is not None]
    assert result.num_keys == len(known)
    assert [known[i] if i >= 0 else None for i in result.side.tolist()] == side
    assert [known[i] if i >= 0 else None for i in result.main.tolist()] == [k if k in known else None for k in main]


CELLS = ["7", "007", " 7", "7.0", "+7", "-0", "0", "a", "a ", "\u00e9", "e\u0301", "", "#N/A", "1.50", "-3"]


@pytest.mark.parametrize("level", LEVELS)
@given(st.lists(st.one_of(st.sampled_from(CELLS), st.text(max_size=4)), min_size=1, max_size=8))
def test_a_single_key_is_compared_as_a_column_is(level: Comparison, cells: list[str]) -> None:
    column = key_texts(pl.Series("k", cells, dtype=pl.String), "table")
    numbers = match([column], [column], level).side
    singles = [key_text(cell, level) for cell in cells]
    for i, own in enumerate(singles):
        assert (own is None) == (numbers[i] < 0)
        for j, other in enumerate(singles):
            if own is not None and other is not None:
                assert (own == other) == (numbers[i] == numbers[j]), (cells[i], cells[j])


@pytest.mark.parametrize(("cell", "key"), [(7, "7"), (7.0, "7"), (True, "true"), (float("nan"), None), (None, None)])
def test_a_key_is_the_same_in_every_container(cell: object, key: str | None) -> None:
    assert key_text(cell, "exact") == key


def test_what_is_no_key_is_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="found a list as a key"):
        key_text(["a"], "exact")
    with pytest.raises(DecodeError, match="above 2\\^53"):
        key_text(1e17, "exact")

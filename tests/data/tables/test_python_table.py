"""Rows that come one after the other are the table that all of them together are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.tables import python_table
from polysense.data.tables.python_table import GrowingRows, from_rows
from polysense.errors import TableError

TEXTS = st.sampled_from(["a", "", "NaN", "x\ud800", "é" * 20])
NUMBERS = st.sampled_from([0, -1, 2**53 + 1, 2**63, 10**30])
FLOATS = st.sampled_from([0.5, -0.0, float("nan"), float("inf"), 1e300])
NESTED = st.sampled_from([["a"], [], [1, None], {"a": 1}, {"path": "p"}, [[1]]])
KINDS = [
    TEXTS,
    NUMBERS,
    FLOATS,
    st.booleans(),
    st.none(),
    NESTED,
    st.one_of(TEXTS, NUMBERS),
    st.one_of(NUMBERS, FLOATS),
]


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    rows = st.fixed_dictionaries({}, optional={f"c{i}": kind for i, kind in enumerate(kinds)})
    return draw(st.lists(rows, min_size=1, max_size=12))


@given(rows=tables())
def test_packed_rows_are_those_that_came(rows: list[dict[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python_table, "_PACKED_ROWS", 3)
        growing, error, expected_error, expected = GrowingRows(), None, None, None
        try:
            expected = from_rows(rows, "t")
        except TableError as raised:
            expected_error = str(raised)
        for row in rows:
            growing.add(row, "t")
        try:
            result = growing.finish("t")
        except TableError as raised:
            error = str(raised)
        assert error == expected_error
        assert growing.num_columns == len({key for row in rows for key in row})
        if expected is not None:
            assert result.frame.schema == expected.frame.schema
            assert result.frame.equals(expected.frame)
            assert result.spelled == expected.spelled


def test_a_column_may_begin_late_and_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_table, "_PACKED_ROWS", 2)
    rows: list[dict[str, object]] = [{"a": 1}, {"a": 2}, {"b": "x"}, {}, {"b": "y", "c": True}]
    growing = GrowingRows()
    for row in rows:
        growing.add(row, "t")
    assert growing.finish("t").frame.to_dict(as_series=False) == {
        "a": [1, 2, None, None, None], "b": [None, None, "x", None, "y"], "c": [None, None, None, None, True],
    }  # fmt: skip


def test_two_keys_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_table, "_PACKED_ROWS", 1)
    growing = GrowingRows()
    growing.add({"1": "a"}, "t, row 0")
    with pytest.raises(TableError, match="t, row 1: found columns of the same name: '1'"):
        growing.add({"1": "a", 1: "b"}, "t, row 1")

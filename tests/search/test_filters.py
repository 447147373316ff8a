from __future__ import annotations

import contextlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import SearchError
from polysense.search.filters import Filter

FRAME = pl.DataFrame({"label": ["cat", "dog", None], "year": [2001, 1999, None], "odd name": [True, False, None]})


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("label = 'cat' and year > 2000", [1, 0, 0]),
        ("year in (1, 2001)", [1, 0, 0]),
        ("year not in (2001)", [0, 1, 0]),
        ("year % 2 = 1", [1, 1, 0]),
        ("label like 'd%' or label is null", [0, 1, 1]),
        ("not (year = 2001)", [0, 1, 0]),
        ("year between 1990 and 2000", [0, 1, 0]),
        ('"odd name"', [1, 0, 0]),
        ("upper(label) = 'CAT'", [1, 0, 0]),
        ("1 = 1", [1, 1, 1]),
        ("false", [0, 0, 0]),
    ],
)
def test_a_row_that_is_not_known_to_meet_it_does_not(text: str, met: list[int]) -> None:
    assert Filter(text, FRAME.schema).met(FRAME).tolist() == [bool(one) for one in met]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("lable = 'cat'", "no column 'lable'; did you mean 'label'"),
        ('label = "cat"', "a text stands in single quotes: 'cat'"),
        ("year > 'a'", "cannot compare string with numeric type"),
        ("year", "is no condition, its values are Int64"),
        ("", "expected an SQL condition"),
        ("year >", "expected an SQL condition"),
        ("select * from t", "expected an expression"),
        ("year = 1; drop table t", "unexpected token"),
        ("read_csv('/etc/passwd')", "unsupported function"),
        ("year = max(year)", "several rows at once"),
        ("count(*) > 1", "several rows at once"),
        ("year = 1 or year = first(year)", "several rows at once"),
        ("row_number() over (order by year) = 1", "several rows at once"),
        ("cast(label as int) = 3", "failed"),
        ("year in (select year from self)", "filter"),
    ],
)
def test_what_is_no_condition_on_a_row_is_refused(text: str, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        Filter(text, FRAME.schema).met(FRAME)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(SearchError):
        assert Filter(text, FRAME.schema).met(FRAME).shape == (3,)

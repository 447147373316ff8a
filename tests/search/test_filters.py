from __future__ import annotations

import contextlib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import SearchError
from polysense.search import VectorIndex

CELLS: dict[str, list[Any]] = {
    "label": ["cat", "dog", None],
    "year": [2001, 1999, None],
    "odd name": [True, False, None],
    "day": [date(2020, 1, 5), date(2021, 1, 5), None],
    "or": [1, 2, 3],
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    made = VectorIndex.create(tmp_path_factory.mktemp("filters") / "index", dim=2)
    made.add([0, 1, 2], np.ones((3, 2)), CELLS)
    return made


def met(index: VectorIndex, condition: str) -> list[int]:
    return [int(row) for row in index.search(np.ones((1, 2)), 3, filter=condition)[0].ids]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("label = 'cat' and year > 2000", [0]),
        ("LABEL = 'cat'", None),
        ("label = 'it''s' or row_id = 2", [2]),
        ("year in (1, 2001)", [0]),
        ("year not in (2001)", [1]),
        ("year % 2 = 1 and year / 2 = 999", [1]),
        ("year - 2000 > -1", [0]),
        ("-year < -2000", [0]),
        ("label like 'd%' or label is null", [1, 2]),
        ("not (year = 2001)", [1]),
        ("year between 1990 and 2000", [1]),
        ('"odd name"', [0]),
        ("upper(label) = 'CAT' and abs(year - 2000) = 1", [0]),
        ("day > date '2020-06-01'", [1]),
        ('"or" <> 3', [0, 1]),
        ("1 = 1", [0, 1, 2]),
        ("true", [0, 1, 2]),
        ("false", []),
    ],
)
def test_a_row_that_is_not_known_to_meet_it_does_not(index: VectorIndex, text: str, rows: list[int] | None) -> None:
    if rows is None:
        with pytest.raises(SearchError, match="no column 'LABEL'"):
            met(index, text)
    else:
        assert met(index, text) == rows


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
        ("cast(label as int) = 3", "'cast' is not allowed"),
        ("label like 'c\\%'", "backslash"),
    ],
)
def test_what_is_no_condition_is_refused(index: VectorIndex, text: str, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        met(index, text)


@pytest.mark.parametrize(
    "text",
    [
        "year = 1; drop table t",
        "label = 'cat'; delete from vectors",
        "label = 'x' or 1=1 --",
        "label = 'x' /* */ or true",
        "label = 'x\\' or true --'",
        "year in (select year from self)",
        "exists (select 1)",
        "read_csv('/etc/passwd')",
        "read_parquet('/tmp/x') is null",
        "year = max(year)",
        "count(*) > 1",
        "row_number() over (order by year) = 1",
        "label = 'cat' union select 1",
        "year::text = '1'",
        "`year` = 1",
        "label = $1",
        "regexp_match(label, 'c') is null",
    ],
)
def test_nothing_but_a_condition_on_a_row_reaches_the_engine(
    index: VectorIndex, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []
    monkeypatch.setattr(type(index._table), "read", lambda self, columns, condition=None: reached.append(condition))
    with pytest.raises(SearchError, match="filter"):
        met(index, text)
    assert not reached


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_clear_error(index: VectorIndex, text: str) -> None:
    with contextlib.suppress(SearchError):
        assert set(met(index, text)) <= {0, 1, 2}


@given(st.text(alphabet="ab'\"\\;-%_ \n", max_size=12))
def test_a_text_id_is_never_read_as_sql(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder: Path = tmp_path_factory.mktemp("ids") / "i"
    with VectorIndex.create(folder, dim=2) as index:
        index.add(["a", *({name} - {"a"})], np.ones((1 + (name != "a"), 2)))
        assert index.contains([name, "zzz"]).tolist() == [True, False]
        assert index.delete([name]) == 1
        assert index.ids.to_list() == ([] if name == "a" else ["a"])

"""Joins: every row of the main table once, in its order, and nothing dropped or chosen in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.codec import to_dict
from polysense.data.joins.config import JoinConfig
from polysense.data.joins.fitted import joined_as_fitted
from polysense.data.joins.join import Joined, join_tables
from polysense.data.joins.used import uses_of
from polysense.data.tables.limits import TableLimits
from polysense.data.tables.sources import Table, read_table
from polysense.errors import TableError

KEYS = st.sampled_from(["a", "b", "c", "7", None])


def tables(main: Any, /, **sides: Any) -> Table:
    return read_table(main, join=sides, name="main")


def joined(main: Any, side: Any, **settings: Any) -> Joined:
    return join_tables(tables(main, side=side), {"side": JoinConfig(**{"on": "key", **settings})})


def column(table: Table, name: str) -> list[object]:
    return table.frame[name].to_list()


@given(st.lists(KEYS, min_size=1, max_size=12), st.permutations(["a", "b", "c"]))
def test_every_row_once_in_order_with_the_cell_of_its_key(keys: list[str | None], order: Sequence[str]) -> None:
    main = {"key": pl.Series(keys, dtype=pl.String), "x": list(range(len(keys)))}
    result = joined(main, {"key": list(order), "value": [f"of {key}" for key in order]}, rows="one", keys="exact")
    assert column(result.table, "x") == list(range(len(keys)))
    assert result.table.rows.tolist() == list(range(len(keys)))
    assert column(result.table, "key") == keys
    assert column(result.table, "side.value") == [f"of {key}" if key in order else None for key in keys]
    of_join = result.table.joins["side"]
    assert of_join.num_joined == sum(key in order for key in keys)
    assert of_join.num_without_key == keys.count(None)
    assert of_join.num_unmatched == keys.count("7")
    assert of_join.num_orphans == sum(key not in keys for key in order)


@given(
    st.lists(st.tuples(KEYS, st.integers(0, 6)), min_size=1, max_size=10),
    st.lists(st.tuples(KEYS, st.integers(0, 6)), min_size=1, max_size=14),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
)
def test_lists_are_those_of_the_definition(
    main: list[tuple[str | None, int]], side: list[tuple[str | None, int]], last: int | None, before: bool
) -> None:
    left = {"key": pl.Series([key for key, _ in main], dtype=pl.String), "now": [time for _, time in main]}
    right = {
        "key": pl.Series([key for key, _ in side], dtype=pl.String),
        "time": [time for _, time in side],
        "row": list(range(len(side))),
    }
    settings = {"order": "time", "last": last, "before": "now" if before else None, "rows": "many", "keys": "exact"}
    result = joined(left, right, **settings)
    expected = []
    for key, now in main:
        rows = [i for i, (other, _) in enumerate(side) if key is not None and other == key]
        rows = [i for i in rows if not before or side[i][1] < now]
        rows = sorted(rows, key=lambda i: (side[i][1], i))
        rows = rows if last is None else rows[-last:]
        expected.append(rows or None)
    assert column(result.table, "side.row") == expected
    assert column(result.table, "now") == [now for _, now in main]
    assert result.table.joins["side"].num_joined == sum(rows is not None for rows in expected)


def test_rows_without_a_partner_are_listed_with_table_row_and_key() -> None:
    main = {"key": ["a", "x", None, "x", "y"], "t": list("12345")}
    result = joined(main, {"key": ["a", "b", None], "v": ["1", "2", "3"]}).table.joins["side"]
    assert result.of_unmatched == (
        "side: the key of 3 rows of main is not in side (row 1: 'x', row 4: 'y'); its columns are missing there"
    )
    assert result.of_missing_keys == "side: the key is missing in 1 row of main and 1 row of side: no partner"
    assert result.of_orphans == "side: the key of 1 row of side is in no row of main (row 1: 'b'); nothing reads them"
    assert result.unmatched_rows == (1, 3, 4)
    assert "1 of 5 rows of main have a partner" in result.sentence


def test_a_key_of_few_rows_that_differ_is_an_error_and_equal_rows_count_as_one() -> None:
    keys = [str(i) for i in range(20)]
    differing = {"key": [*keys, "3"], "v": [f"v{key}" for key in keys] + ["other"]}
    with pytest.raises(TableError, match=r"1 of 20 keys are in several rows that differ \('3' in 2 rows, the first is"):
        joined({"key": keys}, differing)
    with pytest.raises(TableError, match=r"data\.tables\.side\.rows=many"):
        joined({"key": keys}, differing, rows="one")
    result = joined({"key": keys}, differing, rows="many")
    assert column(result.table, "side.v")[2:5] == [["v2"], ["v3", "other"], ["v4"]]
    equal = joined({"key": keys}, {"key": [*keys, "3"], "v": [*keys, "3"]})
    assert column(equal.table, "side.v") == keys
    assert equal.configs["side"].rows == "one"
    assert "1 of 20 keys of side are in several equal rows" in equal.table.joins["side"].of_duplicates


def test_what_is_inferred_is_settled_and_a_new_table_is_joined_in_the_same_way() -> None:
    configs = joined({"key": ["a", "b"]}, {"key": ["a", "a", "b"], "v": [1, 2, 3]}, on=None).configs
    assert configs["side"] == JoinConfig(on={"key": "key"}, rows="many", keys="exact")
    new = tables({"key": ["b", "c"]}, side={"key": ["b"], "v": [5]})
    data = {"columns": {"side.v": {}}, "tables": {"side": to_dict(configs["side"])}}
    result = joined_as_fitted(new, data)
    assert column(result, "side.v") == [[5], None]
    assert joined_as_fitted(result, data) is result


def test_a_new_table_without_the_other_says_which_is_missing() -> None:
    join = {"table": "/data/side.csv", "on": {"key": "id"}, "rows": "one", "keys": "exact"}
    data = {"columns": {"side.v": {}}, "tables": {"side": join}}
    with pytest.raises(TableError, match=r"reads the table 'side' \(in training side\.csv\), joined by key = id"):
        joined_as_fitted(tables({"key": ["a"]}), data)
    with pytest.raises(TableError, match="joins no table 'sid'; it joins side"):
        joined_as_fitted(tables({"key": ["a"]}, sid={"id": ["a"]}), data)
    already = tables({"side.v": ["a"]})
    assert joined_as_fitted(already, data) is already


def test_rows_without_a_key_column_have_no_partner(caplog: pytest.LogCaptureFixture) -> None:
    join = {"table": "/data/side.csv", "on": {"key": "id"}, "rows": "one", "keys": "exact"}
    data = {"columns": {"side.v": {}}, "tables": {"side": join}}
    keyless = tables({"own": ["a"]}, side={"id": ["a"], "v": ["b"]})
    result = joined_as_fitted(keyless, data)
    assert result.names == ["own"]
    assert not result.sides
    assert "has no key column key = id" in caplog.text
    assert joined_as_fitted(tables({"own": ["a"]}), data).names == ["own"], "nor is the other table asked for"


def test_nothing_in_common_is_an_error_in_training_and_missing_cells_afterwards() -> None:
    side = {"key": ["b"], "v": [1]}
    with pytest.raises(TableError, match=r"no row has a key of side in key; found 'a' in main and 'b' in side"):
        joined({"key": ["a"]}, side)
    result = joined({"key": ["a"]}, side, rows="one", keys="exact")
    assert column(result.table, "side.v") == [None]


def test_an_empty_table_an_absent_key_and_a_taken_name() -> None:
    empty = {"key": pl.Series([], dtype=pl.String), "v": pl.Series([], dtype=pl.String)}
    with pytest.raises(TableError, match="side: has no rows to join as 'side', only the columns key, v"):
        joined({"key": ["a"]}, empty)
    assert column(joined({"key": ["a"]}, empty, rows="one", keys="exact").table, "side.v") == [None]
    with pytest.raises(TableError, match="side: no key column 'key'; did you mean 'keys'"):
        joined({"key": ["a"]}, {"keys": ["a"]})
    with pytest.raises(TableError, match="main: no key column 'key'"):
        joined({"x": ["a"]}, {"key": ["a"]})
    with pytest.raises(TableError, match=r"has a column 'side\.v' already"):
        joined({"key": ["a"], "side.v": ["x"]}, {"key": ["a"], "v": [1]})
    with pytest.raises(TableError, match="the table 'side', which is to be joined, is not given"):
        join_tables(tables({"key": ["a"]}), {"side": JoinConfig(on="key")})


def test_only_used_columns_are_joined_and_kept() -> None:
    uses = uses_of({"columns": {"side.title": {"type": "text"}}, "targets": {"y": {"prompt": "about {side.maker}"}}})
    side = {"key": ["a"], "title": ["t"], "maker": ["m"], "price": [1]}
    result = join_tables(tables({"key": ["a"]}, side=side), {"side": JoinConfig(on="key")}, uses).table
    assert result.names == ["key", "side.title", "side.maker"]
    assert result.sides["side"].names == ["key", "title", "maker"]


def test_tables_are_joined_one_after_the_other() -> None:
    table = tables(
        {"product": ["p", "q"]}, products={"id": ["p", "q"], "brand": ["b", "c"]}, brands={"id": ["b"], "name": ["B"]}
    )
    configs = {
        "products": JoinConfig(on={"product": "id"}),
        "brands": JoinConfig(on={"products.brand": "id"}),
    }
    result = join_tables(table, configs).table
    assert column(result, "brands.name") == ["B", None]
    assert result.joins["brands"].columns == {"brands.name": "name"}


def test_several_key_columns_and_lists_within_lists() -> None:
    main = {"user": ["u", "u", "v"], "item": ["1", "2", "1"]}
    side = {"user": ["u", "v", "v"], "item": ["1", "1", "1"], "files": [["a"], ["b", "c"], ["d"]]}
    result = joined(main, side, on=("user", "item"))
    assert column(result.table, "side.files") == [["a"], None, ["b", "c", "d"]]


def test_media_of_a_table_elsewhere_start_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "items.csv").write_text("id,photo\n1,a.png\n", encoding="utf-8")
    (tmp_path / "main.csv").write_text("item_id\n1\n", encoding="utf-8")
    read = read_table(tmp_path / "main.csv", join={"items": tmp_path / "items" / "items.csv"})
    table = join_tables(read, {"items": JoinConfig()}).table
    assert table.root_of("items.photo") == tmp_path / "items"
    assert table.root_of("item_id") == table.root == tmp_path
    assert table.select(np.array([0])).root_of("items.photo") == tmp_path / "items"
    stated = read_table(tmp_path / "main.csv", join={"items": tmp_path / "items" / "items.csv"}, root=tmp_path / "x")
    assert join_tables(stated, {"items": JoinConfig()}).table.root_of("items.photo") == tmp_path / "x"


def test_times_that_cannot_be_read_or_compared_are_named() -> None:
    main = {"key": ["a"], "now": ["2024-01-02"]}
    with pytest.raises(TableError, match=r"side, row 1, column 'time': found 'soon', expected a number, or a date"):
        joined(main, {"key": ["a", "a"], "time": ["2024-01-01", "soon"]}, order="time", before="now")
    with pytest.raises(TableError, match="'now' of main holds times without a time zone, and 'time' of side numbers"):
        joined(main, {"key": ["a", "a"], "time": [1, 2]}, order="time", before="now")
    some = joined(main, {"key": ["a", "a"], "time": ["2024-01-01T10:30", None]}, order="time", before="now").table
    assert column(some, "side.time") == [["2024-01-01T10:30"]]
    assert "1 rows of side have no 'time'" in some.joins["side"].notes[0]


def test_no_list_tells_of_the_future_whatever_times_are_precise_to() -> None:
    def lists(now: str, *times: str) -> Any:
        main, side = {"key": ["a"], "now": [now]}, {"key": ["a"] * len(times), "time": [*times]}
        return column(joined(main, side, order="time", before="now", rows="many").table, "side.time")[0]

    # What happened on a day may have happened later than noon, and a day begins at midnight.
    earlier = ["2024-01-01", "2024-01-02 11:59"]
    assert lists("2024-01-02T12:00", *earlier, "2024-01-02", "2024-01-02 12:00") == earlier
    assert lists("2024-01-02", "2024-01-02T00:00", "2024-01-01", "2024-01-02") == ["2024-01-01"]
    # Times with zones are compared as moments.
    assert lists("2024-01-02T12:00Z", "2024-01-02T13:30:00+02:00", "2024-01-02T11:30:00-02:00") == [
        "2024-01-02T13:30:00+02:00"
    ]
    with pytest.raises(TableError, match="holds times with a time zone, and 'time' of side times without"):
        lists("2024-01-02T12:00Z", "2024-01-02T13:30")
    with pytest.raises(TableError, match=r"column 'time': found '2024-01-02T13:30Z', .* in all cells or in none"):
        lists("2024-01-02T12:00Z", "2024-01-02T13:30Z", "2024-01-02T13:30")


def test_lists_that_would_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        TableLimits, "from_environment", classmethod(lambda cls: replace(TableLimits(), memory=24 * 900))
    )
    main, side = {"key": ["a"] * 100}, {"key": ["a"] * 10, "v": list(range(10))}
    with pytest.raises(TableError, match=r"100 rows would hold 1,000 cells .* data\.tables\.side\.last=20"):
        joined(main, side)
    assert len(joined(main, side, last=9).table) == 100


def test_a_hundred_thousand_rows_are_joined_within_seconds() -> None:
    num = 100_000
    keys = np.random.default_rng(0).integers(0, num // 10, num)
    main = pl.DataFrame({"key": keys})
    started = perf_counter()
    one = joined(main, pl.DataFrame({"key": np.arange(num // 10), "text": [f"text {i}" for i in range(num // 10)]}))
    many = joined(main, pl.DataFrame({"key": keys, "text": [f"text {i}" for i in range(num)]}))
    assert perf_counter() - started < 20  # about one second
    assert column(one.table, "side.text")[:2] == [f"text {key}" for key in keys[:2]]
    assert column(many.table, "side.text")[0] == [f"text {i}" for i in np.flatnonzero(keys == keys[0])]

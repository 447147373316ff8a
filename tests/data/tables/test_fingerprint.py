"""A table is the same or it is told how it differs, whatever its columns hold."""

from __future__ import annotations

import datetime
from pathlib import Path

import polars as pl
import pytest

from polysense.data.tables.fingerprint import table_changes, table_fingerprint
from polysense.data.tables.sources import Table, read_table

FRAME = pl.DataFrame(
    {
        "text": ["ä", "", None, "longer text"],
        "number": [1.5, float("nan"), None, -0.0],
        "whole": [1, 2, None, 3],
        "flag": [True, False, None, False],
        "day": [datetime.date(2020, 1, 1), None, datetime.date(1999, 1, 1), datetime.date(2020, 1, 2)],
        "list": [["a", "b"], [], None, ["ab"]],
        "vector": pl.Series([[1, 2], [3, 4], None, [5, 6]], dtype=pl.Array(pl.Int32, 2)),
        "media": [
            {"bytes": b"\x00\xff", "path": "a"},
            None,
            {"bytes": None, "path": "b"},
            {"bytes": b"", "path": None},
        ],
        "category": pl.Series(["x", "y", None, "y"], dtype=pl.Categorical),
    }
)


def changes(before: pl.DataFrame, now: pl.DataFrame) -> str:
    return table_changes(table_fingerprint(read_table(before)), table_fingerprint(read_table(now)))


def test_equal_cells_are_equal_in_whatever_chunks() -> None:
    chunked = pl.concat([FRAME[:1], FRAME[1:]], rechunk=False)
    assert changes(FRAME, chunked) == ""
    assert changes(FRAME, FRAME.clone()) == ""


@pytest.mark.parametrize("column", FRAME.columns)
def test_one_changed_cell_is_told_with_its_column(column: str) -> None:
    swapped = FRAME.with_columns(FRAME[column].gather([0, 1, 2, 0]))
    assert changes(FRAME, swapped) == f"the cells of '{column}' are others"
    missing = FRAME.with_columns(FRAME[column].gather([0, 1, 2, 2]))
    assert changes(FRAME, missing) == f"the cells of '{column}' are others"


def test_other_rows_orders_and_columns_are_told() -> None:
    assert changes(FRAME, FRAME.reverse()) == "its rows are in another order"
    assert changes(FRAME, FRAME[:3]) == "it had 4 rows and has 3"
    assert changes(FRAME, FRAME.drop("flag")) == "it lacks 'flag'"
    assert changes(FRAME.drop("flag", "day"), FRAME) == "'flag', 'day' are new"
    assert changes(FRAME, FRAME.select(reversed(FRAME.columns))) == "its columns are in another order"
    assert changes(FRAME, FRAME.rename({"flag": "flags"})) == "it lacks 'flag'; 'flags' is new"


def test_boundaries_between_cells_count() -> None:
    frames = [pl.DataFrame({"a": cells}) for cells in (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None])]
    raw = [table_fingerprint(Table(name="t", frame=frame, root=Path(), rows=frame["a"].to_numpy())) for frame in frames]
    assert len({one["columns"]["a"]["ordered"] for one in raw}) == 4
    lists = [pl.DataFrame({"a": cells}) for cells in ([["a"], ["b", "c"]], [["a", "b"], ["c"]])]
    assert changes(*lists) == "the cells of 'a' are others"


def test_a_file_may_move_and_become_another_format(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"]})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "b.parquet")
    tables = [read_table(path) for path in (tmp_path / "a.csv", tmp_path / "b.parquet")]
    assert table_changes(*map(table_fingerprint, tables)) == ""

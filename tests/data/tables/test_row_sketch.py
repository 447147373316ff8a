"""Which rows were seen, in a few kilobytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from polysense.data.tables.row_sketch import RowSketch
from polysense.data.tables.sources import Table, read_table

KINDS = {"a": "number", "b": "text"}


def table(numbers: list[int]) -> Table:
    return read_table({"a": numbers, "b": [f"row {number}" for number in numbers]})


def test_a_small_table_is_known_to_the_row() -> None:
    seen = RowSketch.of(table(list(range(100))), KINDS)
    again = RowSketch.from_json(json.loads(json.dumps(seen.as_json())))
    assert again == seen
    assert again.count(table([5, 6, 200, 201, 202]), table([1000])) == (5, 2)
    # Rows that a table's own training rows hold as well do not count.
    assert again.count(table([5, 6, 200]), table([6])) == (3, 1)


def test_of_a_large_table_a_share_is_estimated() -> None:
    seen = RowSketch.of(table(list(range(8_000))), KINDS)
    assert len(json.dumps(seen.as_json())) < 20_000
    looked_up, found = seen.count(table(list(range(6_000, 10_000))), table([-1]))
    assert 400 < looked_up < 620  # 4,000 * 1,024 / 8,000
    assert abs(found / looked_up - 0.5) < 0.1
    assert seen.count(table(list(range(20_000, 22_000))), table([-1]))[1] == 0


def test_a_file_and_a_frame_of_the_same_cells_are_the_same_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": np.arange(50), "b": [None if i % 3 else f"x{i}" for i in range(50)]})
    frame.write_csv(tmp_path / "t.csv")
    seen = RowSketch.of(read_table(tmp_path / "t.csv"), KINDS)
    assert seen.count(read_table(frame.with_columns(pl.col("a").cast(pl.Float64))), table([-1])) == (50, 50)


def test_cells_are_the_same_where_their_modality_says_so() -> None:
    seen = RowSketch.of(read_table({"a": ["1,5", "2"], "b": ["caf\u00e9 ", "tea"]}), KINDS)
    assert seen.count(read_table({"a": [1.5, 3.0], "b": ["cafe\u0301", "tea"]}), table([-1])) == (2, 1)

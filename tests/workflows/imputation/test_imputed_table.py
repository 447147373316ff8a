"""A table with some cells filled: everything else stays as it stood, in every format."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polysense.data.tables.sources import read_raw
from polysense.errors import TableError
from polysense.workflows.imputation.imputed_table import ImputedTable, check_mark, typed

# A file in which control characters abound is refused as no text, which is a promise of its own (tests of read_table).
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n\r"), max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), ending=st.sampled_from(["csv", "tsv"]))
@example(rows=[("a bell \x07 among a hundred letters, " * 4, "x\x1b")], ending="csv")
def test_every_text_that_was_there_reads_back_the_same(
    tmp_path: Path, rows: list[tuple[str, str]], ending: str
) -> None:
    raw = pl.DataFrame({'a, "b"': [row[0] for row in rows], "c": [row[1] for row in rows]}, schema_overrides={})
    imputed = ImputedTable(raw=raw, cells={"c": {0: 'new, "one"'}})
    path = tmp_path / f"out.{ending}"
    imputed.write(path)
    result = read_raw(path).frame
    assert result['a, "b"'].to_list() == [row[0] for row in rows]
    assert result["c"].to_list() == ['new, "one"', *(row[1] for row in rows[1:])]
    assert [json.loads(cell) for cell in result["imputed"]] == [["c"], *[[] for _ in rows[1:]]]


def test_a_line_of_json_keeps_every_letter(tmp_path: Path) -> None:
    lines = [
        '{"a": 1.50, "b" : null,"c": [1, {"b": 2}]}',
        '  {"b":"x\\u00e9", "a":1e3}',
        "{}",
        '{"a": "}", "imputed": []}',
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n")
    raw = read_raw(path).frame
    ImputedTable(raw=raw, cells={"b": {0: "é", 2: 4}}, source=path).write(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().splitlines() == [
        '{"a": 1.50, "b" : "é","c": [1, {"b": 2}], "imputed": ["b"]}',
        '{"b":"x\\u00e9", "a":1e3, "imputed": []}',
        '{"b": 4, "imputed": ["b"]}',
        '{"a": "}", "imputed": []}',
    ]


def test_types_stay(tmp_path: Path) -> None:
    raw = pl.DataFrame(
        {
            "day": [datetime.date(2024, 1, 2), None],
            "whole": pl.Series([3, None], dtype=pl.UInt8),
            "money": pl.Series([decimal.Decimal("1.50"), None]),
            "kind": pl.Series(["x", None], dtype=pl.Enum(["x", "y"])),
            "empty": pl.Series([None, None], dtype=pl.Null),
        }
    )
    cells: dict[str, dict[int, Any]] = {
        name: {1: typed(raw[name], spelled, plain)}
        for name, spelled, plain in (
            ("day", "05.03.2024", "2024-03-05"),
            ("whole", "300", 300),
            ("money", "2,126", 2.126),
            ("kind", "z", "z"),
            ("empty", "7", 7),
        )
    }
    ImputedTable(raw=raw, cells=cells).write(tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["day"].to_list() == [datetime.date(2024, 1, 2), datetime.date(2024, 3, 5)]
    assert found["whole"].to_list() == [3, 255]
    assert found["whole"].dtype == pl.UInt8
    assert found["money"].to_list() == [decimal.Decimal("1.50"), decimal.Decimal("2.13")]
    assert found["kind"].to_list() == ["x", "z"]
    assert found["empty"].to_list() == [None, 7]
    assert found["imputed"].to_list() == [[], ["day", "whole", "money", "kind", "empty"]]


@pytest.mark.parametrize(
    ("kind", "spelled", "plain", "expected"),
    [
        (pl.String(), "12,5", 12.5, "12,5"),
        (pl.Float32(), "12,5", 12.5, 12.5),
        (pl.Int64(), "12,5", 12.5, 12),
        (pl.Boolean(), "True", "true", True),
        (pl.Boolean(), "0", 0, False),
        (pl.Int64(), "007", "7", 7),
        (pl.Binary(), b"PNG", b"PNG", b"PNG"),
        (pl.Struct({"bytes": pl.Binary, "path": pl.String}), b"P", b"P", {"bytes": b"P", "path": None}),
        (pl.List(pl.String), ["a", "b"], ["a", "b"], ["a", "b"]),
        (pl.String(), ["a", "b"], ["a", "b"], '["a", "b"]'),
        (pl.Datetime("us", "UTC"), "x", "2024-03-05", datetime.datetime(2024, 3, 5, tzinfo=datetime.UTC)),
        (pl.Time(), "x", "01:02:03", datetime.time(1, 2, 3)),
        (pl.Duration("us"), "90", 90.0, datetime.timedelta(seconds=90)),
        (None, "12,5", 12.5, 12.5),
    ],
)  # fmt: skip
def test_a_filled_cell_has_its_columns_type(kind: Any, spelled: Any, plain: Any, expected: Any) -> None:
    column = None if kind is None else pl.Series([], dtype=kind)
    assert typed(column, spelled, plain) == expected


def test_an_earlier_filling_is_gone_on_with_and_a_foreign_column_is_not_touched(tmp_path: Path) -> None:
    raw = pl.DataFrame({"a": ["1", ""], "b": ["", ""], "imputed": ['["a"]', ""]})
    check_mark(raw, "imputed", "t.csv")
    assert ImputedTable(raw=raw, cells={"b": {0: "x", 1: "y"}}).names == [["a", "b"], ["b"]]
    with pytest.raises(TableError, match="column 'imputed' of its own"):
        check_mark(pl.DataFrame({"imputed": ["yes"]}), "imputed", "t.csv")


def test_what_can_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    raw = pl.DataFrame({"a": [b"file"], "b": ["x"]})
    with pytest.raises(TableError, match="'a' holds files"):
        ImputedTable(raw=raw, cells={}).write(tmp_path / "out.csv")
    with pytest.raises(TableError, match=r"can't write \.xlsx"):
        ImputedTable(raw=raw, cells={}).write(tmp_path / "out.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match="can't be written"):
        ImputedTable(raw=raw, cells={}).write(tmp_path / "file" / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""Every type of Arrow is read, whatever container it came in, or refused by its column's name."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polysense.data.tables.arrow_types import from_arrow
from polysense.data.tables.sources import read_table
from polysense.errors import TableError


def extension(kind: Any, storage: Any) -> Any:
    return pa.ExtensionArray.from_storage(kind, storage)


MAP = pa.map_(pa.string(), pa.decimal256(50, 1))
ARRAYS: dict[str, tuple[Any, list[object]]] = {
    "decimal32": (pa.array([Decimal("1.5"), None], pa.decimal32(5, 2)), [1.5, None]),
    "decimal128": (pa.array([Decimal("1.5"), None], pa.decimal128(38, 2)), [1.5, None]),
    "decimal256": (pa.array([Decimal("1.5"), None], pa.decimal256(50, 2)), [1.5, None]),
    "half": (pa.array([1.5, None], pa.float16()), [1.5, None]),
    "null": (pa.nulls(2), [None, None]),
    "time32": (pa.array([1, None], pa.time32("s")), ["00:00:01", None]),
    "time64": (pa.array([1, None], pa.time64("ns")), ["00:00:00.000000001", None]),
    "duration": (pa.array([90, None], pa.duration("s")), [90.0, None]),
    "interval": (pa.array([(1, 2, 3_500_000_000), None], pa.month_day_nano_interval()), ["P1M2DT3.5S", None]),
    "day": (pa.array([datetime.date(2020, 1, 2), None]), ["2020-01-02", None]),
    "day beyond the calendar": (
        pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32()), ["2147483647 is no time", "1970-01-01"],
    ),
    "offset": (pa.array([0, None], pa.timestamp("s", "+05:30")), ["1970-01-01 00:00:00.000+00:00", None]),
    "no zone": (pa.array([0, None], pa.timestamp("s", "Mars/Base")), ["1970-01-01 00:00:00.000+00:00", None]),
    "dictionary": (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    "dictionary of numbers": (pa.array([5, None]).dictionary_encode(), [5, None]),
    "dictionary of decimals": (pa.array([Decimal("1.5"), None], pa.decimal256(50, 2)).dictionary_encode(), [1.5, None]),
    "large text": (pa.array(["a", None], pa.large_string()), ["a", None]),
    "text view": (pa.array(["a", None], pa.string_view()), ["a", None]),
    "bytes view": (pa.array([b"a", None], pa.binary_view()), [b"a", None]),
    "fixed bytes": (pa.array([b"ab", None], pa.binary(2)), [b"ab", None]),
    "fixed list": (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
    "large list": (pa.array([[1, 2], None], pa.large_list(pa.int8())), [[1, 2], None]),
    "list view": (pa.array([[1, 2], None, [], [3]], pa.list_view(pa.int8()))[:2], [[1, 2], None]),
    "large list view": (pa.array([["a"], None], pa.large_list_view(pa.string())), [["a"], None]),
    "runs": (pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["a", None])), ["a", None]),
    "map": (pa.array([[("a", Decimal("1.5"))], None], MAP), [[{"key": "a", "value": 1.5}], None]),
    "structure": (
        pa.array([{"a": Decimal("1.5")}, None], pa.struct([("a", pa.decimal256(50, 2))])), [{"a": 1.5}, None],
    ),
    "list of decimals": (pa.array([[Decimal("1.5")], None], pa.list_(pa.decimal256(50, 2))), [[1.5], None]),
    "list of days": (pa.array([[datetime.date(2020, 1, 2)], None]), [["2020-01-02"], None]),
    "union": (
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["w", "x"])]),
        ["1", "x"],
    ),
    "uuid": (pa.array([b"\0" * 16, None], pa.uuid()), ["00000000-0000-0000-0000-000000000000", None]),
    "json": (extension(pa.json_(), pa.array(["[1]", None])), ["[1]", None]),
    "tensor": (
        extension(pa.fixed_shape_tensor(pa.float32(), (2,)), pa.array([[1, 2], None], pa.list_(pa.float32(), 2))),
        [[1.0, 2.0], None],
    ),
    "opaque": (extension(pa.opaque(pa.string(), "point", "somebody"), pa.array(["a", None])), ["a", None]),
}  # fmt: skip
NOT_IN_PARQUET = {"interval", "runs", "union"}  # the format has no such types


HOWS = ("memory", "file", "stream", "parquet")
TYPES = [(name, how) for name in ARRAYS for how in HOWS if how != "parquet" or name not in NOT_IN_PARQUET]


@pytest.mark.parametrize(("name", "how"), TYPES)
def test_types(tmp_path: Path, name: str, how: str) -> None:
    array, cells = ARRAYS[name]
    table = pa.table({"x": array, "other": ["a", "b"]})
    source: Any = table
    if how == "parquet":
        source = tmp_path / "t.parquet"
        pq.write_table(table, source)
    elif how != "memory":
        source = tmp_path / "t.arrow"
        make = pa.ipc.new_file if how == "file" else pa.ipc.new_stream
        with make(source, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table)
    result = read_table(source)
    assert result.cells("x") == cells
    assert [result.cell(i, "x") for i in range(2)] == cells
    assert result.cells("other") == ["a", "b"]


def test_slices_and_chunks() -> None:
    views = pa.array([[1], [2, 3], None, [4]], pa.list_view(pa.int8()))
    table = pa.table({"x": pa.chunked_array([views[1:3], views[3:], views[:0]])})
    assert read_table(table).cells("x") == [[2, 3], None, [4]]


def test_what_cannot_be_read_names_its_column() -> None:
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["k", "k"])
    with pytest.raises(TableError, match=r"table, column 'x': .*two fields of the same name"):
        read_table(pa.table({"x": twice}))
    with pytest.raises(TableError, match=r"column 'x': .*lists of no items"):
        read_table(pa.table({"x": pa.array([[]], pa.list_(pa.int8(), 0))}))
    deep: object = 1
    for _ in range(80):
        deep = [deep]
    with pytest.raises(TableError, match=r"column 'x': .*nested more than 64 levels"):
        read_table(pa.table({"x": [deep]}))
    no_text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    with pytest.raises(TableError, match=r"column 'x'"):
        read_table(pa.table({"x": no_text}))


def test_names_are_checked_first() -> None:
    with pytest.raises(TableError, match=r"same name: 'a'"):
        from_arrow(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), "table")


def test_nested_times_and_categories_of_a_frame_are_plain() -> None:
    frame = pl.DataFrame(
        {
            "structure": [{"at": datetime.datetime(2020, 1, 2), "n": 1}, None],
            "categories": pl.Series([["a"], None], dtype=pl.List(pl.Categorical)),
            "array": pl.Series([[Decimal("1.5")], None], dtype=pl.Array(pl.Decimal(4, 1), 1)),
        }
    )
    table = read_table(frame)
    assert table.cells("structure") == [{"at": "2020-01-02 00:00:00.000000", "n": 1}, None]
    assert table.cells("categories") == [["a"], None]
    assert table.cells("array") == [[1.5], None]

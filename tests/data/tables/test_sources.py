"""Tables read as they are: every spelling of the same rows gives the same cells, and what is wrong is named."""

from __future__ import annotations

import datetime
import gzip
import importlib
import json
import logging
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from polysense.data.tables.sources import Table, read_table
from polysense.errors import TableError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(table: Table) -> list[list[object]]:
    return [[table.cell(i, name) for name in table.names] for i in range(len(table))]


PLAIN = 'name,age,note\nAnn,007,"a, b"\nBob,1.5,"two\nlines ""quoted"""\n'
EXPECTED = [["Ann", "007", "a, b"], ["Bob", "1.5", 'two\nlines "quoted"']]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        PLAIN.replace("name,age,note", " name ,age, note").encode(),
        PLAIN.encode() + b"\n\n",
        b"\n" + PLAIN.encode(),
        b"sep=,\n" + PLAIN.encode(),
    ],
    ids=[
        "utf-8",
        "bom",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "spaces in header",
        "blank end",
        "blank start",
        "sep=",
    ],
)
def test_csv_spellings_agree(tmp_path: Path, content: bytes) -> None:
    table = read_table(write(tmp_path, "t.csv", content))
    assert table.names == ["name", "age", "note"]
    assert rows_of(table) == EXPECTED
    assert table.root == tmp_path
    assert table.name == "t.csv"


def test_crlf_ends_rows_but_stays_inside_cells(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", b'a,b\r\n1,"x\r\ny"\r\n2,z\r\n'))
    assert rows_of(table) == [["1", "x\r\ny"], ["2", "z"]]


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ";"), ("t.tsv", "\t"), ("t.txt", "|"), ("t.csv", "\t")])
def test_delimiters(tmp_path: Path, name: str, mark: str) -> None:
    content = f"a{mark}b\n1,5{mark}x, y\n2,5{mark}z, w\n"
    assert rows_of(read_table(write(tmp_path, name, content))) == [["1,5", "x, y"], ["2,5", "z, w"]]


def test_commas_in_texts_do_not_hide_the_delimiter(tmp_path: Path) -> None:
    content = "text;label\n" + "one, two, three;0\n" * 5
    assert read_table(write(tmp_path, "t.csv", content)).names == ["text", "label"]


def test_cp1252_is_read_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "t.csv", "a,b\nx,1\ncafé – “ok”,2\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        table = read_table(path)
    assert table.cell(1, "a") == "café – “ok”"
    assert [r.getMessage() for r in caplog.records if "Windows-1252" in r.getMessage() and "line 3" in r.getMessage()]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        (b"a\n\xed\xa0\xbd\nx\n", ["\ufffd", "x"]),
        (b"a\n\xed\xa0\xbd\xed\xb8\x80\nx\n", ["\U0001f600", "x"]),
        ("a\nпривет\n".encode() + b"y\xff\n", ["привет", "y\ufffd"]),
        ("a\nпривет\nж".encode()[:-1], ["привет", "\ufffd"]),
    ],
)
def test_damaged_utf8_is_replaced_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, cells: list[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_table(write(tmp_path, "t.csv", content)).cells("a") == cells
    assert "no UTF-8 (first in line" in caplog.text


@pytest.mark.parametrize("name", ["t[1]", "t*", "t?", "{t}", "a=1 b", "t[!a]", "~t", "été", "s3:t"])
@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "arrow", "feather"])
def test_names_are_no_patterns(tmp_path: Path, name: str, ending: str) -> None:
    folder = tmp_path / f"x=1 [{name}]"
    folder.mkdir()
    path = folder / f"{name}.{ending}"
    frame = pl.DataFrame({"a": [1, 2]})
    match ending:
        case "csv":
            frame.write_csv(path)
        case "json":
            frame.write_json(path)
        case "jsonl":
            frame.write_ndjson(path)
        case "parquet":
            with path.open("wb") as stream:
                frame.write_parquet(stream)
        case _:
            with path.open("wb") as stream:
                frame.write_ipc(stream)
    table = read_table(path)
    assert table.names == ["a"]
    assert [int(str(cell)) for cell in table.cells("a")] == [1, 2]
    assert table.root == folder


def test_gzip(tmp_path: Path) -> None:
    assert rows_of(read_table(write(tmp_path, "t.csv.gz", gzip.compress(PLAIN.encode())))) == EXPECTED
    lines = json.dumps({"a": 1}) + "\n"
    assert rows_of(read_table(write(tmp_path, "t.jsonl.gz", gzip.compress(lines.encode())))) == [[1]]
    with pytest.raises(TableError, match="gzip"):
        read_table(write(tmp_path, "u.csv.gz", gzip.compress(PLAIN.encode() * 50)[:40]))


def test_long_cells_and_chunks(tmp_path: Path) -> None:
    book = "x" * 300_000
    many = "".join(f"{i},{book if i == 3 else i}\n" for i in range(40_000))
    table = read_table(write(tmp_path, "t.csv", "i,text\n" + many))
    assert len(table) == 40_000
    assert table.cell(3, "text") == book
    assert table.cells("i") == [str(i) for i in range(40_000)]


def test_tab_separated_corpus_with_bare_quotes(tmp_path: Path) -> None:
    content = 'text\tlabel\n"Oh" she said\t0\nsay "yes\t1\n'
    assert rows_of(read_table(write(tmp_path, "t.tsv", content))) == [['"Oh" she said', "0"], ['say "yes', "1"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1,2\n3\n4,5\n", "line 3: found 1 fields, expected 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: found 3 fields, expected 2"),
        ('a,b\n"x\ny",2\n3\n', "line 4: found 1 fields"),
        ('a,b\n1,2\n"never closed,3\n4,5\n', "line 3: a quotation mark is opened and never closed"),
        ('a,b\n"x"y,2\n', "line 2"),
        ("a,b,a,b\n1,2,3,4\n", "same name: 'a', 'b'"),
        ("", "empty"),
        ("\n\n", "empty"),
        (b"a,b\n1,\0\n", "line 2: found a NUL byte"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x89PNG\r\n\x1a\n\0\0", "PNG"),
        (bytes(range(1, 32)) * 20, "control characters"),
        (b"a,b\n\x81\x8d,2\n", "can't be decoded"),
    ],
)
def test_bad_csv_is_named(tmp_path: Path, content: str | bytes, expected: str) -> None:
    path = write(tmp_path, "t.csv", content)
    with pytest.raises(TableError) as error:
        read_table(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)


def test_header_only_has_no_rows(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "a,b\n"))
    assert (len(table), table.names, table.cells("a")) == (0, ["a", "b"], [])


def test_odd_column_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = read_table(write(tmp_path, "t.csv", "left.eye,größe (cm),,日本\n1,2,3,4\n"))
    assert table.names == ["left.eye", "größe (cm)", "column_3", "日本"]
    assert table.cell(0, "column_3") == "3"
    assert "column 3 has no name" in caplog.text


def test_names_of_one_look_are_one(tmp_path: Path) -> None:
    typed, stored = "größe", unicodedata.normalize("NFD", "größe")
    table = read_table(write(tmp_path, "t.csv", f"{stored},y\n1,2\n"))
    assert table.names == [typed, "y"]
    assert table.cell(0, typed) == "1"
    assert read_table([{stored: 1}]).names == [typed]
    with pytest.raises(TableError, match="found columns of the same name: 'größe'"):
        read_table({typed: [1], stored: [2]})


def test_one_column_keeps_blank_rows_in_between(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t.csv", "text\nhello\n\nworld\n\n"))
    assert table.cells("text") == ["hello", None, "world"]


def test_a_name_is_the_same_whichever_system_it_was_typed_on(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (tmp_path / "t.csv").write_text(f"{decomposed},b\n1,2\n", encoding="utf-8")
    (tmp_path / "t.jsonl").write_text(json.dumps({decomposed: 1, "b": 2}, ensure_ascii=False), encoding="utf-8")
    pl.DataFrame({decomposed: [1], "b": [2]}).write_parquet(tmp_path / "t.parquet")
    for source in (tmp_path / "t.csv", tmp_path / "t.jsonl", tmp_path / "t.parquet", [{decomposed: 1, "b": 2}]):
        assert read_table(source).names == [composed, "b"]
    with pytest.raises(TableError, match="columns of the same name"):
        read_table([{decomposed: 1, composed: 2}])


@pytest.mark.parametrize("name", ["missing.csv", "tabel.csv", "no/such/folder.csv"])
def test_missing_path(tmp_path: Path, name: str) -> None:
    write(tmp_path, "table.csv", PLAIN)
    with pytest.raises(TableError, match="no such file") as error:
        read_table(tmp_path / name)
    assert ("did you mean 'table.csv'" in str(error.value)) == (name == "tabel.csv")


def test_directory_unknown_extension_and_strange_objects(tmp_path: Path) -> None:
    write(tmp_path, "table.csv", PLAIN)
    with pytest.raises(TableError, match=r"is a directory.*table\.csv"):
        read_table(tmp_path)
    with pytest.raises(TableError, match=r"'\.xlsx'.*expected one of \.csv"):
        read_table(write(tmp_path, "t.xlsx", b"PK\x03\x04"))
    with pytest.raises(TableError, match=r"found a builtins\.int"):
        read_table(3)
    with pytest.raises(TableError):
        read_table("a\0b.csv")
    with pytest.raises(TableError):
        read_table("x" * 5000 + ".csv")


def test_jsonl_mixed_rows(tmp_path: Path) -> None:
    lines = [
        {"text": "hello", "n": 1, "tags": ["a", "b"], "mixed": 1},
        {"text": None, "n": 2.5, "mixed": "x", "late": {"a": 1}},
        {"n": None, "tags": [], "mixed": [1, 2], "late": {"b": [2]}},
    ]
    table = read_table(write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n"))
    assert table.cells("text") == ["hello", None, None]
    assert table.cells("n") == [1.0, 2.5, None]
    assert table.cells("tags") == [["a", "b"], None, None]
    assert table.cells("mixed") == ["1", "x", [1, 2]]
    assert table.cell(0, "late") is None
    assert table.cell(1, "late") is not None


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": }\n', "line 2: is not valid JSON at column 7"),
        ("t.jsonl", '{"a": 1}\n\n[1]\n', "line 3: found list"),
        ("t.jsonl", '{"a": 1, "a": 2}\n', "'a' stands twice"),
        ("t.jsonl", "", "empty"),
        ("t.json", "{", "not valid JSON"),
        ("t.json", '{"a": 1}', "expected a list of objects"),
        ("t.json", "[1]", "row 0"),
        ("t.json", '{"a": [1], "b": [1, 2]}', "not equally long: 'a' 1, 'b' 2"),
        ("t.json", "[" * 100_000, "nested too deeply"),
        ("t.json", '[{"a": ' + "[" * 80 + "]" * 80 + "}]", "nested more than 64 levels"),
        ("t.jsonl", '{"a": 1}\n{"a": ' + "7" * 5000 + "}\n", "line 2: holds a number of more than 4,300 digits"),
    ],
)
def test_bad_json_is_named(tmp_path: Path, name: str, content: str, expected: str) -> None:
    with pytest.raises(TableError) as error:
        read_table(write(tmp_path, name, content))
    assert expected in str(error.value)


def test_json_shapes_agree(tmp_path: Path) -> None:
    expected = [[1, "x"], [2, None]]
    for content in (
        '[{"a": 1, "b": "x"}, {"a": 2}]',
        '{"a": [1, 2], "b": ["x", null]}',
        '{"a": 1, "b": "x"}\n{"a": 2}\n',
    ):
        assert rows_of(read_table(write(tmp_path, "t.json", content))) == expected


FRAME = pl.DataFrame(
    {
        "text": ["a", None, " NA "],
        "whole": [1, 2, None],
        "real": [1.5, float("nan"), None],
        "flag": [True, None, False],
        "list": [["x", "y"], None, []],
        "media": [{"bytes": b"x", "path": None}, {"bytes": None, "path": "p.png"}, {"bytes": None, "path": None}],
        "raw": [b"1", b"2", None],
        "day": [datetime.date(2020, 1, 2), None, None],
    }
)
CELLS = {
    "text": ["a", None, None],
    "whole": [1, 2, None],
    "real": [1.5, None, None],
    "flag": [True, None, False],
    "list": [["x", "y"], None, None],
    "media": [{"bytes": b"x", "path": None}, {"bytes": None, "path": "p.png"}, None],
    "raw": [b"1", b"2", None],
    "day": ["2020-01-02", None, None],
}


def sources(folder: Path) -> dict[str, Any]:
    FRAME.write_parquet(folder / "t.parquet")
    FRAME.write_parquet(folder / "t[1].pq")
    FRAME.write_ipc(folder / "t.arrow")
    FRAME.write_ipc(folder / "t.feather", compression="zstd")
    FRAME.write_ipc_stream(folder / "stream.arrow")
    files = {name: folder / name for name in ("t.parquet", "t[1].pq", "t.arrow", "t.feather", "stream.arrow")}
    return {**files, "polars": FRAME, "rows": FRAME.to_dicts(), "columns": FRAME.to_dict(as_series=False)}


@pytest.mark.parametrize(
    "kind", ["t.parquet", "t[1].pq", "t.arrow", "t.feather", "stream.arrow", "polars", "rows", "columns"]
)
def test_typed_sources_agree(tmp_path: Path, kind: str) -> None:
    table = read_table(sources(tmp_path)[kind])
    assert {name: table.cells(name) for name in table.names} == CELLS
    for name in table.names:
        assert [table.cell(i, name) for i in range(3)] == CELLS[name]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.feather"])
def test_damaged_binary_tables(tmp_path: Path, name: str) -> None:
    whole = (sources(tmp_path)[name]).read_bytes()
    for content in (b"", b"a,b\n1,2\n", whole[: len(whole) // 2]):
        with pytest.raises(TableError, match="damaged"):
            read_table(write(tmp_path, name, content))


def test_pandas_and_datasets() -> None:
    pandas = importlib.import_module("pandas")
    frame = pandas.DataFrame(
        {
            "text": ["a", None, float("nan")],
            "whole": pandas.array([1, 2, None], dtype="Int64"),
            "real": [1.5, float("nan"), 2.0],
            "kind": pandas.Categorical(["u", "v", None]),
            "when": pandas.to_datetime(["2020-01-02T00:00", None, "2020-01-03T04:05"]),
            "list": [["x"], None, ["y", "z"]],
            3: [1, 2, 3],
        },
        index=[7, 8, 9],
    )
    table = read_table(frame, root="/data")
    assert table.names == ["text", "whole", "real", "kind", "when", "list", "3"]
    assert table.cells("text") == ["a", None, None]
    assert table.cells("whole") == [1, 2, None]
    assert table.cells("real") == [1.5, None, 2.0]
    assert table.cells("kind") == ["u", "v", None]
    assert table.cells("when") == ["2020-01-02T00:00:00", None, "2020-01-03T04:05:00"]
    assert table.cells("list") == [["x"], None, ["y", "z"]]
    assert table.root == Path("/data")
    with pytest.raises(TableError, match="same name: 'a'"):
        read_table(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = importlib.import_module("datasets")
    picture = tmp_path / "p.png"
    Image.new("L", (4, 4)).save(picture)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )
    rows = {
        "image": [str(picture), {"bytes": picture.read_bytes(), "path": None}, None],
        "label": [1, 0, None],
        "text": ["a", "b", "c"],
    }
    dataset = datasets.Dataset.from_dict(rows, features=features)
    table = read_table(dataset.select([2, 1, 0]))
    assert table.cells("text") == ["c", "b", "a"]
    assert table.cells("label") == [None, "cat", "dog"]
    assert table.cells("image") == [
        None,
        {"bytes": picture.read_bytes(), "path": None},
        {"bytes": None, "path": str(picture)},
    ]
    with pytest.raises(TableError, match=r"several splits \(train\)"):
        read_table(datasets.DatasetDict({"train": dataset}))


def test_python_values() -> None:
    image = Image.new("CMYK", (2, 2))
    table = read_table(
        [
            {
                "p": Path("a/b.png"),
                "n": np.float32(1.5),
                "v": np.arange(3),
                "i": Image.new("RGB", (2, 2)),
                "m": b"x",
                "big": 2**70,
            },
            {"p": "c.png", "n": 2, "v": (1, 2), "i": image, "m": "file.png", "big": 1},
        ]
    )
    assert table.cells("p") == ["a/b.png", "c.png"]
    assert table.cells("n") == [1.5, 2.0]
    assert table.cells("v") == [[0, 1, 2], [1, 2]]
    assert all(isinstance(cell, bytes) for cell in table.cells("i"))
    assert table.cells("m") == [{"bytes": b"x", "path": None}, {"bytes": None, "path": "file.png"}]
    assert table.cells("big") == [str(2**70), "1"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ([{"a": 1}, {"a": object()}], "row 1, column 'a': found a object"),
        ([{"a": 1}, 2], "row 1: found int 2"),
        ({"a": "text"}, "a single row is a list with one dict"),
        ({"a": [1], "b": [1, 2]}, "not equally long"),
        ({1: [1, 2], "1": [3, 4], "b": [5, 6]}, "found columns of the same name: '1'; rename them"),
        ([{"b": 1}, {1: "a", "1": "b"}, {"1": "c"}], "row 1: found columns of the same name: '1'; rename them"),
        ([{True: 1, "True": 2}], "row 0: found columns of the same name: 'True'; rename them"),
        ([{"a": {1: "x", "1": "y"}}], "row 0, column 'a': found a dict"),
        ([{"a": [{"b": {None: 1, "None": 2}}]}], "two of its keys are 'None'; rename one"),
        ([{"a": json.loads(r'{"\ud800": 1, "\udc00": 2}')}], "two of its keys are '\ufffd'; rename one"),
    ],
)
def test_bad_python_values_are_named(source: Any, expected: str) -> None:
    with pytest.raises(TableError) as error:
        read_table(source)
    assert expected in str(error.value)


def test_keys_that_are_no_texts_are_names() -> None:
    table = read_table([{1: "a"}, {"1": "b"}, {None: 3}])
    assert {name: table.cells(name) for name in table.names} == {"1": ["a", "b", None], "None": [None, None, 3]}


def test_a_lazy_frame_that_fails_is_a_table_error() -> None:
    assert read_table(pl.LazyFrame({"a": [1]})).cells("a") == [1]
    with pytest.raises(TableError, match="can't be collected"):
        read_table(pl.scan_csv("/nowhere.csv"))


def test_empty_list_is_an_empty_table() -> None:
    assert (len(read_table([])), len(read_table({"a": []}))) == (0, 0)


@pytest.mark.parametrize(
    ("cell", "as_input", "as_target"),
    [
        ("", None, None),
        (" \t\n", None, None),
        ("NA", None, "NA"),
        (" None ", None, " None "),
        ("null", None, "null"),
        ("none", "none", "none"),
        (" x ", " x ", " x "),
        ("[]", None, []),
        ('["a.png", "b.png"]', ["a.png", "b.png"], ["a.png", "b.png"]),
        ("['a.png', 'b']", ["a.png", "b"], ["a.png", "b"]),
        (" [1, 2.5] ", [1, 2.5], [1, 2.5]),
        ("[X] in a man [sic]", "[X] in a man [sic]", "[X] in a man [sic]"),
        ("[laughs]", "[laughs]", "[laughs]"),
        ('["a", {"b": 1}]', '["a", {"b": 1}]', '["a", {"b": 1}]'),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
    ],
)
def test_cells(tmp_path: Path, cell: str, as_input: object, as_target: object) -> None:
    quoted = cell.replace('"', '""')
    table = read_table(write(tmp_path, "t.csv", f'a\n"{quoted}"\nother\n'))
    assert table.cell(0, "a") == table.cells("a")[0] == as_input
    assert table.cell(0, "a", literal=True) == table.cells("a", literal=True)[0] == as_target


LISTS_IN_TEXTS = ["[0, 1, 2]", '["a.png", "b.png"]', "['a']", "[]", " [1] "]


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet", "arrow", "rows", "columns", "polars", "pandas", "object"])
def test_a_text_is_a_text_where_lists_can_stand(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({"a": LISTS_IN_TEXTS})
    sources: dict[str, Any] = {"rows": frame.to_dicts(), "columns": {"a": LISTS_IN_TEXTS}, "polars": frame}
    if kind == "json":
        source: Any = write(tmp_path, "t.json", json.dumps(frame.to_dicts()))
    elif kind == "jsonl":
        source = write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, frame.to_dicts())))
    elif kind in ("parquet", "arrow"):
        source = tmp_path / f"t.{kind}"
        (frame.write_parquet if kind == "parquet" else frame.write_ipc)(source)
    elif kind == "pandas":
        source = frame.to_pandas()
    elif kind == "object":
        source = pl.DataFrame({"a": pl.Series(LISTS_IN_TEXTS, dtype=pl.Object)})
    else:
        source = sources[kind]
    table = read_table(source)
    for literal in (False, True):
        assert table.cells("a", literal=literal) == LISTS_IN_TEXTS
        assert [table.cell(i, "a", literal=literal) for i in range(5)] == LISTS_IN_TEXTS


def test_texts_among_lists_stay_texts() -> None:
    table = read_table({"a": ["x", ["y", "z"], '["u", "v"]', 3, None, ["[1]"]]})
    assert table.cells("a") == ["x", ["y", "z"], ['["u", "v"]'], "3", None, ["[1]"]]


def test_half_characters_are_replaced_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [{"t": "good"}, {"t": "cut \ud83d"}, {"t": "\ud83d\ude00"}, {"t": ["x\udc80", 1], "k\ud83d": 1}]
    with caplog.at_level(logging.WARNING):
        table = read_table(write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, lines))))
    assert table.names == ["t", "k\ufffd"]
    assert table.cells("t") == ["good", "cut \ufffd", "\U0001f600", ["x\ufffd", 1]]
    assert "t.jsonl, row 1, column 't'" in caplog.text
    assert "1 more rows: 3" in caplog.text


texts = st.text(max_size=8) | st.sampled_from(["NA", "nan", " ", '["x"]', "[1]"])
scalars = texts | st.none() | st.floats() | st.integers() | st.booleans() | st.binary(max_size=4)


@given(st.lists(texts) | st.lists(st.none() | st.floats()) | st.lists(scalars | st.lists(scalars, max_size=3)))
@settings(deadline=None)
def test_cell_equals_cells(values: list[Any]) -> None:
    try:
        table = read_table({"a": values})
    except TableError:
        return  # lists of mixed things, lone surrogates
    for literal in (False, True):
        assert table.cells("a", literal=literal) == [table.cell(i, "a", literal=literal) for i in range(len(values))]


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\t\r\n"), max_size=6),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=60)
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame = pl.DataFrame(rows, schema=["a", "b"], orient="row")
    frame.write_csv(path, quote_style="always")
    assert read_table(path).frame.rows() == [tuple(row) for row in rows]


def test_select_keeps_original_rows() -> None:
    table = read_table({"a": list("abcdef")}, name="letters").select([5, 1, 3]).select(np.array([2, 0]))
    assert table.cells("a") == ["d", "f"]
    assert table.rows.tolist() == [3, 5]
    assert str(table.source(0, "a", "f.png")) == "letters, row 3, column 'a' (f.png)"
    assert read_table(table) is not None
    assert pickle.loads(pickle.dumps(table)).cells("a") == ["d", "f"]


def test_unknown_column_has_close_matches() -> None:
    table = read_table({"Label": [1], "image": [2]})
    with pytest.raises(TableError, match=r"no column 'label '; did you mean 'Label'\? \(columns: 'Label', 'image'\)"):
        table.cell(0, "label ")
    assert table.has("Label")
    assert not table.has("label")

"""A table takes no more than a stated multiple of its file's size, and every limit names its setting."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from polysense.data.tables.limits import TableBudget, TableLimits
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError, TableError


def frame_of(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"a": [f"the same text in row {i % 2}" for i in range(rows)]})


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "csv": pl.DataFrame.write_csv,
    "csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "jsonl": pl.DataFrame.write_ndjson,
    "jsonl.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_ndjson().encode())),
    "json.gz": lambda frame, path: path.write_bytes(gzip.compress(json.dumps(frame.to_dicts()).encode())),
    "parquet": pl.DataFrame.write_parquet,
    "arrow": lambda frame, path: frame.write_ipc(path, compression="zstd"),
    "feather": lambda frame, path: frame.cast(pl.Categorical).write_ipc(path, compression="zstd"),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    WRITERS[ending](frame_of(3_000), path)
    assert len(read_table(path)) == 3_000
    monkeypatch.setenv("POLYSENSE_TABLE_MEMORY", "50kB")
    with pytest.raises(TableError, match=r"more than 50 kB.*POLYSENSE_TABLE_MEMORY"):
        read_table(path)


@pytest.mark.parametrize("ending", ["csv.gz", "jsonl.gz", "json.gz", "parquet", "arrow", "feather"])
def test_expansion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    WRITERS[ending](frame_of(20_000), path)
    monkeypatch.setattr(TableLimits, "__init__", functools.partialmethod(TableLimits.__init__, unsuspicious=10_000))
    monkeypatch.setenv("POLYSENSE_TABLE_EXPANSION", "2")
    with pytest.raises(TableError, match=r"2 times its file's size.*POLYSENSE_TABLE_EXPANSION=N"):
        read_table(path)
    monkeypatch.setenv("POLYSENSE_TABLE_EXPANSION", "100000")
    assert len(read_table(path)) == 20_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", ",".join(f"c{i}" for i in range(30))),
        ("t.json", json.dumps({f"c{i}": [1] for i in range(30)})),
        ("u.json", json.dumps([{f"c{i}": 1} for i in range(30)])),
        ("t.jsonl", "\n".join(json.dumps({f"c{i}": 1}) for i in range(30))),
    ],
)
def test_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert len(read_table(path).names) == 30
    monkeypatch.setenv("POLYSENSE_TABLE_COLUMNS", "29")
    with pytest.raises(TableError, match=r"expected at most 29.*POLYSENSE_TABLE_COLUMNS"):
        read_table(path)


def test_columns_of_binary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({f"c{i}": [1] for i in range(30)})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc(tmp_path / "t.arrow")
    monkeypatch.setenv("POLYSENSE_TABLE_COLUMNS", "29")
    for name in ("t.parquet", "t.arrow"):
        with pytest.raises(TableError, match="POLYSENSE_TABLE_COLUMNS"):
            read_table(tmp_path / name)


def test_cells_are_rows_times_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"k{i}": 1}}\n' for i in range(1_000)), encoding="utf-8")
    monkeypatch.setenv("POLYSENSE_TABLE_MEMORY", "10MB")
    with pytest.raises(TableError, match=r"POLYSENSE_TABLE_MEMORY"):
        read_table(path)


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\n1\n")
    for text, number in {"1000": 1_000, "1.5 kB": 1_500, "2GiB": 2 * 10**9, "3m": 3 * 10**6}.items():
        monkeypatch.setenv("POLYSENSE_TABLE_MEMORY", text)
        assert TableBudget(path).limit == min(number, TableLimits().unsuspicious)
    for text in ("0", "-1", "much", "1e9"):
        monkeypatch.setenv("POLYSENSE_TABLE_MEMORY", text)
        with pytest.raises(ConfigError, match="POLYSENSE_TABLE_MEMORY: found"):
            read_table(path)


def test_names_have_a_length(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a" * 5_000 + b",b\n1,2\n")
    with pytest.raises(TableError, match="a column name of 5,000 characters") as error:
        read_table(tmp_path / "t.csv")
    assert len(str(error.value)) < 400

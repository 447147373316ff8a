"""A table that polysense writes computes nothing when a spreadsheet opens it."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from polysense.data.tables.frame_file import write_frame
from polysense.escaping import defused

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "\uff1d1+1",
    "=",
    "-3.5e-7",
    "-",
]


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_formulas_are_defused_and_numbers_stay(ending: str, tmp_path: Path) -> None:
    numbers = [-3.5] * len(FORMULAS)
    frame = pl.DataFrame({"text": FORMULAS, "=name": numbers, "number": numbers})
    file = tmp_path / f"a{ending}"
    write_frame(frame, file, ending)
    with file.open(newline="", encoding="utf-8") as stream:
        names, *rows = csv.reader(stream, delimiter="\t" if ending == ".tsv" else ",")
    assert names == ["text", "'=name", "number"]
    assert [row[0] for row in rows] == [*("'" + text for text in FORMULAS[:9]), "=", "-3.5e-7", "-"]
    assert {cell for row in rows for cell in row[1:]} == {"-3.5"}
    # One apostrophe less gives the texts back.
    assert [text[1:] if defused(text) != text else text for text in (row[0] for row in rows)] == FORMULAS


def test_nothing_is_defused_where_nothing_computes_or_it_is_not_wanted(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": FORMULAS})
    for ending, read in ((".parquet", pl.read_parquet), (".jsonl", pl.read_ndjson)):
        write_frame(frame, tmp_path / f"a{ending}", ending)
        assert read(tmp_path / f"a{ending}").equals(frame)
    write_frame(frame, tmp_path / "a.csv", ".csv", csv_safe=False)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        assert [row[0] for row in csv.reader(stream)][1:] == FORMULAS

"""Frames of many rows: what lies in files is what came, nothing is left behind, parts are the same rows."""

import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.tables import mapped_frame
from polysense.data.tables.delimited import read_delimited
from polysense.data.tables.mapped_frame import FrameRows, GrowingFrame, reordered

TEXTS = st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=40)), max_size=30)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are written, from the first byte on."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(mapped_frame, "MAPPED_BYTES", 64)
    return tmp_path


def _grown(parts: list[pl.DataFrame]) -> pl.DataFrame | None:
    growing = GrowingFrame()
    for part in parts:
        growing.add(part)
    return growing.finish()


@given(parts=st.lists(TEXTS, min_size=1, max_size=12))
def test_what_is_mapped_is_what_came(parts: list[list[str | None]]) -> None:
    frames = [
        pl.DataFrame({"i": pl.Series(range(len(texts)), dtype=pl.Int64), "t": pl.Series(texts, dtype=pl.String)})
        for texts in parts
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped_frame, "MAPPED_BYTES", 200)
        patch.setattr(mapped_frame, "_SMALL_PARTS", 3)
        grown = _grown(frames)
        assert grown is not None
        assert grown.equals(pl.concat(frames))
        order = np.random.default_rng(0).permutation(len(grown))
        if len(grown):
            assert reordered(grown, order).equals(grown[order])


def test_files_hold_every_type_and_lose_their_names(folder: Path) -> None:
    part = pl.DataFrame({
        "text": ["a", None], "long": ["x" * 100, "y" * 50], "number": [1.5, None], "flag": [True, None],
        "bytes": [b"\x00\xff", None], "list": [["a", None], []], "media": [{"bytes": b"1", "path": "p"}, None],
    })  # fmt: skip
    grown = _grown([part] * 5)
    assert grown is not None
    assert grown.equals(pl.concat([part] * 5))
    assert grown.n_chunks() == 5  # each has been written
    assert [*folder.iterdir()] == []


def test_types_that_differ_between_parts_are_brought_to_one(folder: Path) -> None:
    parts = [pl.DataFrame({"a": [1] * 40}), pl.DataFrame({"a": [None] * 40}), pl.DataFrame({"a": [0.5] * 40})]
    grown = _grown(parts)
    assert grown is not None
    assert grown["a"].to_list() == [1.0] * 40 + [None] * 40 + [0.5] * 40


@pytest.mark.parametrize("case", ["full", "refused"])
def test_where_no_file_can_be_written_it_stays_in_memory(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "full":
        usage = shutil.disk_usage(folder)._replace(free=1 << 20)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "none"))
    part = pl.DataFrame({"a": ["text"] * 20})
    grown = _grown([part] * 3)
    assert grown is not None
    assert grown.equals(pl.concat([part] * 3))
    assert [*folder.iterdir()] == []


def test_a_large_file_has_the_same_cells(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.data.tables.delimited._CHUNK", 7)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f'"{i}\n""é"" ",{i}\n' for i in range(100)), encoding="utf-8")
    frame, delimiter = read_delimited(path)
    assert delimiter == ","
    assert frame.rows() == [(f'{i}\n"é" ', str(i)) for i in range(100)]
    assert [*folder.iterdir()] == [path]


@given(texts=TEXTS.filter(bool), data=st.data())
def test_rows_by_number_are_those_of_a_copy(texts: list[str | None], data: st.DataObject) -> None:
    frame = pl.DataFrame({"t": pl.Series(texts, dtype=pl.String), "i": range(len(texts))})
    rows = st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=20)
    chosen = np.array(data.draw(rows))
    held, copied = FrameRows(frame).take(chosen), frame[chosen]
    again = np.array(data.draw(st.lists(st.integers(0, len(chosen) - 1), max_size=9)), dtype=np.int64)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(chosen)), st.integers(0, len(chosen)))))
    assert len(held) == len(copied)
    assert held.copied().equals(copied)
    assert held.column("t").equals(copied["t"])
    assert held.column("t", start, stop).equals(copied["t"][start:stop])
    assert held.some(again, "i").equals(copied["i"][again])
    assert held.take(again).copied().equals(copied[again])
    assert [held.value(i, "t") for i in range(len(held))] == copied["t"].to_list()
    sent = pickle.loads(pickle.dumps(held))
    assert sent.frame.equals(copied)
    assert sent.positions is None

"""A file is found by the name that it looks like having."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from polysense.data.media.file_names import existing
from polysense.data.media.media import locate
from polysense.data.tables.sources import read_table
from polysense.errors import DecodeError, TableError

NAMES = ["été.png", "Å.png", "Ω가.png", "日本/é/x.png", "ﬁ.png"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_forms(tmp_path: Path, name: str, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    path = tmp_path / unicodedata.normalize(form, name)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    asked = tmp_path / unicodedata.normalize(other, name)  # type: ignore[arg-type]
    assert existing(asked) == path
    assert existing(path) == path
    assert locate(str(asked), tmp_path, "image").read() == b"content"


def test_the_name_as_it_stands_comes_first(tmp_path: Path) -> None:
    one, other = (tmp_path / unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))  # type: ignore[arg-type]
    one.write_bytes(b"1")
    assert existing(other) == one
    other.write_bytes(b"2")
    assert existing(other) == other


def test_what_is_not_there_stays_what_it_was(tmp_path: Path) -> None:
    for path in (tmp_path / "é", tmp_path / "é" / "b", Path("/nowhere/é"), tmp_path / "é\0"):
        assert existing(path) == path
    with pytest.raises(DecodeError, match="no such file"):
        locate("é.png", tmp_path, "image")


def test_tables_too(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "été.csv")).write_bytes(b"a\n1\n")
    assert read_table(tmp_path / unicodedata.normalize("NFC", "été.csv")).cells("a") == ["1"]
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "ètè.csv")

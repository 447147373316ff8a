"""Keys of cells: the same content the same key, wherever it lies; a changed file another one, whatever its date."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from polysense.data.media.media import Media
from polysense.data.store import cell_keys as module
from polysense.data.store.cell_keys import CellKeys, FileDigests


@pytest.fixture
def keys() -> CellKeys:
    return CellKeys(is_media=True)


def written(path: Path, content: bytes, *, age: float = 100.0) -> Path:
    """A file that was changed so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as changed long ago."""
    monkeypatch.setattr(module, "_SETTLED", -3600.0)


def test_a_content_has_one_key_wherever_it_lies(keys: CellKeys, tmp_path: Path) -> None:
    written(tmp_path / "a.png", b"same")
    written(tmp_path / "deep" / "b.png", b"same")
    written(tmp_path / "c.png", b"else")
    written(tmp_path / "d.jpg", b"same")
    first = keys.content("a.png", tmp_path)
    assert first is not None
    assert keys.content("deep/b.png", tmp_path) == keys.content("b.png", tmp_path / "deep") == first
    assert len({first, keys.content("c.png", tmp_path), keys.content("d.jpg", tmp_path)}) == 3  # decoders go by names
    assert keys.content({"path": "a.png", "bytes": None}, tmp_path) == first
    assert keys.content(b"same", tmp_path) == keys.content({"bytes": b"same", "path": "x.png"}, tmp_path) != first


def test_lists_are_told_apart_by_order_number_and_gaps(keys: CellKeys, tmp_path: Path) -> None:
    for name in "ab":
        written(tmp_path / name, name.encode())
    cells = [["a"], ["a", "b"], ["b", "a"], ["a", None, "b"], "a", [None]]
    assert len({keys.content(cell, tmp_path) for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    "cell", ["none.png", "", "folder", "pipe", 7, {"x": 1}, b"", "http://a.example/b.png", ["none.png"]]
)
def test_what_can_not_be_read_has_no_key(keys: CellKeys, tmp_path: Path, cell: object) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert keys.content(cell, tmp_path) is None


@pytest.mark.usefixtures("settled")
def test_a_changed_file_has_another_key_though_size_and_date_are_as_before(keys: CellKeys, tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", b"one")
    before, status = keys.content("a.png", tmp_path), path.stat()
    time.sleep(0.02)
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert keys.content("a.png", tmp_path) not in (None, before)


def test_a_file_that_was_changed_a_moment_ago_is_hashed_each_time(keys: CellKeys, tmp_path: Path) -> None:
    written(tmp_path / "a.png", b"one")
    assert keys.content("a.png", tmp_path) is not None
    assert not keys.digests.new  # its status was changed now, whatever its date


@pytest.mark.usefixtures("settled")
def test_what_was_written_down_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.png", b"one")
    digests = FileDigests(tmp_path / "store")
    expected = CellKeys(is_media=True, digests=digests).content("a.png", tmp_path)
    digests.write(digests.take_new())
    assert not digests.new
    digests.write({})

    def no(self: Media) -> None:
        raise AssertionError("is read")

    monkeypatch.setattr(Media, "open", no)
    assert CellKeys(is_media=True, digests=digests).content("a.png", tmp_path) == expected
    again = FileDigests(tmp_path / "store")
    assert CellKeys(is_media=True, digests=again).content("a.png", tmp_path) == expected
    with pytest.raises(AssertionError, match="is read"):
        CellKeys(is_media=True).content("a.png", tmp_path)


def test_large_files_have_keys_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 3)
    written(tmp_path / "a.mp4", b"large")
    assert CellKeys(is_media=True).content("a.mp4", tmp_path) is None
    assert CellKeys(is_media=True).content(b"large", tmp_path) is None
    assert CellKeys(is_media=True, large=True).content("a.mp4", tmp_path) is not None


def test_plain_values_are_told_apart_by_their_types(tmp_path: Path) -> None:
    keys = CellKeys(is_media=False)
    values = ["1", 1, 1.0, "a", "\ud800"]
    assert len({keys.content(value, tmp_path) for value in values}) == len(values)
    assert keys.content(b"1", tmp_path) is None

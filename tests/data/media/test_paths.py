"""Tests of data.media.paths: what a cell names, in which Unicode form, and what may be read."""

from __future__ import annotations

import os
import pickle
import unicodedata
from pathlib import Path

import pytest

from polysense.data.media.media import locate
from polysense.data.media.paths import ConfinedFolder, find_file, resolve
from polysense.errors import DecodeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b.png", "/root/a/b.png"),
        ("./a.png", "/root/a.png"),
        ("a\\b\\c.png", "/root/a/b/c.png"),
        (".\\a.png", "/root/a.png"),
        ("/abs/a.png", "/abs/a.png"),
        (" a b.png ", "/root/a b.png"),
        ("a%20b.png", "/root/a%20b.png"),
        ("file:///abs/a%20b.png", "/abs/a b.png"),
        ("file://localhost/a.png", "/a.png"),
        ("~/a.png", str(Path.home() / "a.png")),
        ("~a.png", "/root/~a.png"),
        ("../a.png", "/root/../a.png"),
    ],
)
def test_resolve(text: str, expected: str) -> None:
    assert resolve(Path("/root"), text) == Path(expected)


@pytest.mark.parametrize("text", ["https://example.org/a.png", "s3://bucket/a.png", "a\0b", "file://host/a.png"])
def test_resolve_refuses(text: str) -> None:
    with pytest.raises(DecodeError):
        resolve(Path("/root"), text)


@pytest.mark.parametrize(("written", "stored"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_is_found_in_its_other_unicode_form(tmp_path: Path, written: str, stored: str) -> None:
    name = "\N{LATIN SMALL LETTER E WITH ACUTE}t\N{LATIN SMALL LETTER E WITH ACUTE}"
    there = tmp_path / unicodedata.normalize(stored, name)
    there.mkdir()
    (there / f"{name}.png").write_bytes(b"x")
    cell = unicodedata.normalize(written, f"{name}/{name}.png")
    assert find_file(tmp_path, cell).read_bytes() == b"x"
    assert locate(cell, tmp_path, "image").num_bytes == 1


def test_of_two_that_look_the_same_the_exact_one_is_taken(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "\N{LATIN SMALL LETTER E WITH ACUTE}")).write_text(form)
    for form in ("NFC", "NFD"):
        cell = unicodedata.normalize(form, "\N{LATIN SMALL LETTER E WITH ACUTE}")
        assert find_file(tmp_path, cell).read_text() == form


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A table's folder and one beside it, each with a file; links inside, outside and in a circle."""
    inside, outside = tmp_path / "table", tmp_path / "outside"
    (inside / "im").mkdir(parents=True)
    outside.mkdir()
    (inside / "im" / "a.png").write_bytes(b"inside")
    (outside / "b.png").write_bytes(b"outside")
    (inside / "link.png").symlink_to(inside / "im" / "a.png")
    (inside / "out.png").symlink_to(outside / "b.png")
    (inside / "folder").symlink_to(outside)
    (inside / "round").symlink_to(inside / "round")
    return inside, outside


@pytest.mark.parametrize("cell", ["im/a.png", "./im/../im/a.png", "link.png", "folder/../table/im/a.png"])
def test_a_confined_folder_lets_its_own_files_be_read(folders: tuple[Path, Path], cell: str) -> None:
    inside, _ = folders
    assert locate(cell, ConfinedFolder(inside), "image").read() == b"inside"
    assert locate(str(inside / "im" / "a.png"), ConfinedFolder(inside), "image").read() == b"inside"


def test_a_confined_folder_may_be_reached_by_a_link(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(folders[0])
    assert locate("im/a.png", ConfinedFolder(tmp_path / "here"), "image").read() == b"inside"


@pytest.mark.parametrize(
    "cell",
    ["../outside/b.png", "{outside}/b.png", "file://{outside}/b.png", "out.png", "folder/b.png", "folder/none.png",
     "/etc/passwd", "~/b.png", "..\\outside\\b.png", "../none.png", "../table2/a.png"],
)  # fmt: skip
def test_a_confined_folder_refuses_what_lies_outside(folders: tuple[Path, Path], cell: str) -> None:
    inside, outside = folders
    named = cell.format(outside=outside)
    with pytest.raises(DecodeError, match="lies outside of the table's folder"):
        locate(named, ConfinedFolder(inside), "image")
    with pytest.raises(DecodeError, match="lies outside of the table's folder"):
        locate({"bytes": None, "path": named}, ConfinedFolder(inside), "image")


def test_a_plain_folder_lets_every_file_be_read(folders: tuple[Path, Path]) -> None:
    inside, outside = folders
    for cell in ("../outside/b.png", str(outside / "b.png"), "out.png", "folder/b.png"):
        assert locate(cell, inside, "image").read() == b"outside"


def test_links_in_a_circle_are_no_file(folders: tuple[Path, Path]) -> None:
    for root in folders[0], ConfinedFolder(folders[0]):
        with pytest.raises(DecodeError, match=r"can't be opened|no such file"):
            locate("round", root, "image")


def test_a_confined_folder_stays_one_on_its_way_to_a_worker() -> None:
    folder = ConfinedFolder("data")
    for same in (pickle.loads(pickle.dumps(folder)), folder.absolute(), folder / "below", folder.expanduser()):
        assert isinstance(same, ConfinedFolder)


@pytest.mark.parametrize("confined", [True, False])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, confined: bool) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    root: Path = ConfinedFolder(tmp_path) if confined else tmp_path
    with pytest.raises(DecodeError, match="is a named pipe, expected an audio file"):
        locate("pipe.wav", root, "audio")
    with pytest.raises(DecodeError, match="is a directory"):
        locate(".", root, "audio")
    if not confined:
        with pytest.raises(DecodeError, match="is a device"):
            locate("/dev/zero", root, "audio")


def test_a_file_that_became_a_pipe_after_it_was_looked_at_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    media = locate("a.wav", tmp_path, "audio")
    (tmp_path / "a.wav").unlink()
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(DecodeError, match="not a regular file any more"):
        media.read()


def test_a_file_of_holes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.mkv").open("wb") as file:
        file.write(b"\x1aE\xdf\xa3")
        file.truncate(100 * 2**30)
    with pytest.raises(DecodeError, match="are stored: the rest are holes"):
        locate("a.mkv", tmp_path, "video")

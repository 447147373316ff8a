"""Members of tar archives: found where `tarfile` finds them, read as the files that they were, and hostile archives."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.data.media import archives
from polysense.data.media.archives import archive_of, member_name, scan, split_path
from polysense.data.media.media import locate
from polysense.data.media.paths import ConfinedFolder
from polysense.data.store.cell_keys import CellKeys
from polysense.errors import DecodeError


def tar(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


NAMES = st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), min_size=1, max_size=150).filter(
    lambda name: member_name(name) is not None and not name.endswith("/")
)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(NAMES, max_size=6, unique_by=member_name),
    content=st.binary(max_size=1500),
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_members_are_where_tarfile_finds_them(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], content: bytes, format: int
) -> None:
    path = tar(tmp_path_factory.mktemp("tar") / "a.tar", dict.fromkeys(names, content), format)
    members, left_out, archive = scan(path)
    assert not left_out
    with tarfile.open(path) as reference:
        assert [(member.offset, member.num_bytes) for member in members] == [
            (info.offset_data, info.size) for info in reference
        ]
    for name, member in zip(names, members, strict=True):
        assert member.name == member_name(name)
        assert archive.find(name) == member
    assert archive.find("another") is None or "another" in map(member_name, names)


def test_a_member_is_read_as_the_file_that_it_was(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5
    tar(tmp_path / "a.tar", {"x.bin": b"before", "dir/é.PNG": content, "y.bin": b"after"}, tarfile.PAX_FORMAT)
    media = locate("a.tar/dir/é.PNG", tmp_path, "image")
    assert (media.num_bytes, media.suffix, media.is_whole_file) == (len(content), ".png", False)
    assert media.read() == content
    assert media.read(7) == content[:7]
    with media.open() as file:
        assert file.read(10) == content[:10]
        assert file.seek(-4, os.SEEK_END) == len(content) - 4
        assert file.read() == content[-4:]
        assert file.read() == b""
        assert file.seek(300) == 300
        assert file.read(3) == content[300:303]
        with pytest.raises(OSError):
            file.seek(-1)
    assert locate("./a.tar/./dir//é.PNG", ConfinedFolder(tmp_path), "image").read() == content


def test_the_key_of_a_member_is_its_content(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", {"1.png": b"same", "2.png": b"same", "3.png": b"else"})
    (tmp_path / "4.png").write_bytes(b"same")
    keys = CellKeys(is_media=True)
    one, two, three, four = (keys.content(f"{name}.png", tmp_path) for name in ("a.tar/1", "a.tar/2", "a.tar/3", "4"))
    assert one == two == four != three


def test_an_archive_that_changes_is_indexed_anew(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"1.png": b"first"})
    assert archive_of(path) is archive_of(path)
    tar(path, {"0.png": b"new", "1.png": b"second"})
    assert locate("a.tar/1.png", tmp_path, "image").read() == b"second"


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar" / "1.png").write_bytes(b"x")
    assert split_path(tmp_path / "a.tar" / "1.png") is None
    assert locate("a.tar/1.png", tmp_path, "image").read() == b"x"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a.tar/gone.png", "no such member of the archive 'a.tar': 'gone.png'"),
        ("a.tar/empty.png", "is empty"),
        ("a.tar/twice.png", "several members named 'twice.png'"),
        ("a.tar/../outside.png", "no such member"),
        ("a.tar/link.png", "no such member"),
        ("b.tar/x.png", "no such file"),
        ("c.tar/x.png", "is compressed .gzip."),
        ("cut.tar/last.png", "is cut short: the archive 'cut.tar' states 3,000 bytes of it, 1,"),
    ],
)
def test_a_member_that_cannot_be_read_says_why(tmp_path: Path, cell: str, message: str) -> None:
    (tmp_path / "outside.png").write_bytes(b"secret")
    path = tar(
        tmp_path / "a.tar", [("empty.png", b""), ("twice.png", b"1"), ("twice.png", b"2"), ("../outside.png", b"x")]
    )
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "outside.png"
        archive.addfile(link)
    with tarfile.open(tmp_path / "c.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x.png"))
    whole = tar(tmp_path / "whole.tar", {"last.png": b"x" * 3000}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:2000])
    # A path is resolved first in a folder that nothing may lead out of, and there it is another file's.
    for root in (tmp_path,) if ".." in cell else (tmp_path, ConfinedFolder(tmp_path)):
        with pytest.raises(DecodeError, match=message):
            locate(cell, root, "image")


def damaged(tmp_path: Path, change: dict[int, bytes]) -> Path:
    content = bytearray(tar(tmp_path / "base.tar", {"1.png": b"x" * 600, "2.png": b"y"}).read_bytes())
    for at, data in change.items():
        content[at : at + len(data)] = data
    path = tmp_path / "damaged.tar"
    path.write_bytes(content)
    return path


def with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_a_damaged_archive_is_an_error_and_never_a_crash(tmp_path: Path) -> None:
    for change, message in (
        ({0: b"PK"}, "is no tar archive"),
        ({1536: b"??"}, "the header at byte 1,536 is none"),
    ):
        with pytest.raises(DecodeError, match=message):
            scan(damaged(tmp_path, change))
    header = bytearray((tmp_path / "base.tar").read_bytes()[:512])
    header[124:136] = b"\x80" + b"\xff" * 11
    with pytest.raises(DecodeError, match="states no size"):
        scan(damaged(tmp_path, {0: with_checksum(header)}))
    header[124:136] = b"\x80" + (2**40).to_bytes(11, "big")
    members, _, archive = scan(damaged(tmp_path, {0: with_checksum(header)}))
    assert [member.num_bytes for member in members] == [2**40]
    assert "ends within its member '1.png'" in archive.end_note
    header[156:157] = b"x"  # an extended header of a terabyte
    _, _, archive = scan(damaged(tmp_path, {0: with_checksum(header)}))
    assert archive.end_note == "ends within a header at byte 0"
    (tmp_path / "empty.tar").touch()
    with pytest.raises(DecodeError, match="is no tar archive: it is empty"):
        scan(tmp_path / "empty.tar")


def test_what_is_no_plain_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind!r}.png")
            info.type, info.linkname = kind, "x"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("/etc/../../x.png"))
        archive.addfile(tarfile.TarInfo("1.png"))
    content = bytearray(path.read_bytes())
    members, left_out, _ = scan(path)
    assert [member.name for member in members] == ["1.png"]
    assert [why for _, why in left_out] == [
        "it is a link", "it is a link", "it is a device", "it is a pipe", "its name leads out of the archive"
    ]  # fmt: skip
    sparse = bytearray(tar(tmp_path / "s.tar", {"s.png": b"z"}).read_bytes()[:512])
    sparse[156:157] = b"S"
    path.write_bytes(with_checksum(sparse) + bytes(512) + content)
    members, left_out, _ = scan(path)
    assert left_out[0] == ("s.png", "it is stored sparse")
    assert [member.name for member in members] == ["1.png"]


def test_an_archive_behind_another_is_said(tmp_path: Path) -> None:
    one = tar(tmp_path / "a.tar", {"1.png": b"x"})
    one.write_bytes(one.read_bytes() + tar(tmp_path / "b.tar", {"2.png": b"x"}).read_bytes())
    members, _, archive = scan(one)
    assert [member.name for member in members] == ["1.png"]
    assert "another archive follows" in archive.end_note


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_change_of_bytes_ends_otherwise_than_in_a_stated_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    name = "x" * data.draw(st.sampled_from([5, 150]))
    content = bytearray(
        tar(folder / "a.tar", {f"{name}.png": b"x" * 700, "2.png": b"y"}, tarfile.PAX_FORMAT).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 3000))
        content[at : at + 1] = data.draw(st.binary(max_size=3))
    for start in range(0, 3072, 512):  # headers that are whole again, so that what they state is believed
        if content[start + 257 : start + 262] == b"ustar":
            content[start : start + 512] = with_checksum(bytearray(content[start : start + 512]))
    path = folder / "b.tar"
    path.write_bytes(content)
    try:
        members, _, archive = scan(path)
    except DecodeError:
        return
    for member in members:
        try:
            assert archive.find(member.name) is not None
            locate(f"b.tar/{member.name}", folder, "image").read()
        except DecodeError:
            pass


def test_few_indexes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MAX_KEPT", 2)
    monkeypatch.setattr(archives, "_kept", {})
    for i in range(4):
        scan(tar(tmp_path / f"{i}.tar", {"1.png": b"x"}))
    assert len(archives._kept) == 2

"""Tar archives whose members are read where they lie: the headers are walked once, and nothing is unpacked.

A cell may name a member as if the archive were a folder, `photos.tar/cat.jpg`; it is then a slice of that file.
Python's own `tarfile` keeps two kilobytes a member and reads whatever size an extended header states into memory, so
headers are walked here, one `read` of 512 bytes each, and 24 bytes a member are kept: the hash of its name, where it
begins, how long it is. Tests hold the two equal on archives of every format.

Nothing is ever written to a place that a member names, so a name that leads out of the archive can't do harm; it is
left out all the same, for no cell could name it. Links, devices and sparse members are left out likewise, each with
its reason. A damaged header ends in an error: what follows it can't be found any more.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from polysense.core.unicode_text import mended
from polysense.data.media.file_names import existing
from polysense.errors import DecodeError

__all__ = ["SUFFIX", "Archive", "LeftOut", "Member", "archive_of", "member_name", "scan", "split_path"]

SUFFIX = ".tar"
"""What an archive's name ends in."""

_BLOCK = 512
_MAX_RECORD = 2**20  # of an extended header: names and such; a crafted one states any size
_MAX_NAME = 4096  # characters, as of any path
_REGULAR = frozenset(b"\x0007")  # NUL, 0 and 7
_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE, _FOLDER = b"xgLKS5"
_WITHOUT_DATA = dict(zip(b"12346", ("a link", "a link", "a device", "a device", "a pipe"), strict=True))
_OUT = "its name leads out of the archive"
_FILL = 20 * _BLOCK  # what archives are filled up to with zeros


class Member(NamedTuple):
    """A regular file in an archive.

    Attributes:
        name: As a path within the archive: `member_name`.
        offset: Of its first byte.
        num_bytes: As its header states them.
    """

    name: str
    offset: int
    num_bytes: int


class LeftOut(NamedTuple):
    """A member that can't be read, and why."""

    name: str
    why: str


@dataclass(frozen=True, eq=False)
class Archive:
    """Where each member lies, by its name.

    Attributes:
        num_members: That there are.
        end_note: Says that the file ends within a member, or before the mark of its end, or goes on after it; else "".
    """

    hashes: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    doubled: frozenset[int]
    end_note: str

    @property
    def num_members(self) -> int:
        """How many can be read."""
        return len(self.hashes)

    def find(self, name: str) -> Member | None:
        """The member of a name, as it stands behind the archive's path; None if there is none.

        Raises:
            DecodeError: There are several.
        """
        name = member_name(name) or ""
        key = _hash(name)
        at = int(np.searchsorted(self.hashes, np.uint64(key)))
        if at == len(self.hashes) or int(self.hashes[at]) != key:
            return None
        if key in self.doubled:
            raise DecodeError(f"the archive holds several members named {name[:200]!r}; give each a name of its own")
        return Member(name, int(self.offsets[at]), int(self.sizes[at]))


def split_path(path: Path) -> tuple[Path, str] | None:
    """An archive and the name of a member in it, where a path leads through one; else None.

    A folder whose name ends in .tar is a folder.
    """
    if f"{SUFFIX}/" not in path.as_posix().lower():
        return None
    for parent in reversed(path.parents):
        if parent.name.lower().endswith(SUFFIX):
            archive = existing(parent)
            if archive.is_file():
                return archive, path.relative_to(parent).as_posix()
    return None


def member_name(name: str) -> str | None:
    """A member's name as a path within its archive; None where it leads out of it, or can be no path.

    Leading and doubled slashes and dots that mean nothing go, as in any path; backslashes separate folders; composed
    characters are one character (NFC).
    """
    if "\0" in name or len(name) > _MAX_NAME:
        return None
    parts = [part for part in mended(name).replace("\\", "/").strip().split("/") if part not in ("", ".")]
    return None if not parts or ".." in parts else unicodedata.normalize("NFC", "/".join(parts))


def scan(path: Path) -> tuple[list[Member], list[LeftOut], Archive]:
    """The members of an archive in their order, those that are left out, and its index, which is kept.

    Args:
        path: A regular file.

    Raises:
        DecodeError: It is no tar archive, is compressed, or is damaged.
        OSError: It can't be read.
    """
    status = path.stat()
    members: list[Member] = []
    left_out: list[LeftOut] = []
    with path.open("rb") as file:
        end_note = _walk(file, status.st_size, members, left_out)
    archive = _indexed(members, end_note)
    _kept[_identity(path)] = archive
    while len(_kept) > _MAX_KEPT:
        _kept.pop(next(iter(_kept)))
    return members, left_out, archive


def archive_of(path: Path) -> Archive:
    """The index of an archive, made when it is first asked for and whenever the file was changed.

    Raises:
        DecodeError: As of `scan`.
        OSError: It can't be read.
    """
    known = _kept.get(_identity(path))
    return scan(path)[2] if known is None else known


_Identity = tuple[str, int, int, int]
_MAX_KEPT = 65_536
_kept: dict[_Identity, Archive] = {}


def _identity(path: Path) -> _Identity:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns, status.st_ino


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _indexed(members: Sequence[Member], end_note: str) -> Archive:
    hashes = np.array([_hash(member.name) for member in members], dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    doubled = hashes[1:][hashes[1:] == hashes[:-1]]
    return Archive(
        hashes=hashes,
        offsets=np.array([member.offset for member in members], dtype=np.int64)[order],
        sizes=np.array([member.num_bytes for member in members], dtype=np.int64)[order],
        doubled=frozenset(doubled.tolist()),
        end_note=end_note,
    )


def _walk(file: BinaryIO, size: int, members: list[Member], left_out: list[LeftOut]) -> str:
    """Goes from header to header; what it returns is the archive's `end_note`."""
    at = 0
    stated: dict[str, str] = {}
    while True:
        file.seek(at)
        header = file.read(_BLOCK)
        if len(header) < _BLOCK:
            if not at:
                raise DecodeError(f"is no tar archive: {'it is empty (0 bytes)' if not header else _what(header)}")
            return f"ends within a header at byte {at:,}" if header else "ends without the mark of an archive's end"
        if not header.strip(b"\0"):
            return _after_end(file, at)
        if not _is_whole(header):
            raise DecodeError(
                f"is no tar archive: {_what(header)}" if not at else f"is damaged: the header at byte {at:,} is none"
            )
        kind, num_bytes = header[156], _number(header[124:136], at)
        start = at + _BLOCK
        if kind in (_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK, ord("X")):
            at = start + _padded(num_bytes)
            if at > size:
                return f"ends within a header at byte {start - _BLOCK:,}"
            stated |= _record(kind, file.read(num_bytes) if num_bytes <= _MAX_RECORD else None, start)
            continue
        name = stated.get("path") or _short_name(header)
        if "size" in stated:
            num_bytes = _stated_size(stated["size"], at)
        why = f"it is {_WITHOUT_DATA[kind]}" if kind in _WITHOUT_DATA else ""
        if kind == _SPARSE or "sparse" in stated:
            why, start = "it is stored sparse", _after_sparse(file, header, start)
        elif kind not in _REGULAR and kind != _FOLDER and not why:
            why = f"it is of the type {chr(kind)!r}"
        at = start + (0 if kind in _WITHOUT_DATA or kind == _FOLDER else _padded(num_bytes))
        stated = {}
        if kind == _FOLDER or (not why and name.endswith("/")):
            at = start
            continue
        path = member_name(name)
        if why or path is None:
            left_out.append(LeftOut(name[:200], why or _OUT))
        else:
            members.append(Member(path, start, num_bytes))
        if at > size:
            there = max(0, size - start)
            return f"ends within its member {name[:200]!r}: {there:,} of its {num_bytes:,} bytes are there"


def _after_end(file: BinaryIO, at: int) -> str:
    """Says that another archive follows an archive's end, whose members no reader of archives sees."""
    rest = file.read(_FILL)
    blocks = (rest[i : i + _BLOCK] for i in range(0, len(rest), _BLOCK))
    following = next((block for block in blocks if block.strip(b"\0")), b"")
    if len(following) < _BLOCK or not _is_whole(following):
        return ""
    return f"ends at byte {at:,}, and another archive follows, which is not read; keep them as two files"


def _what(head: bytes) -> str:
    compressed = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
    name = next((name for magic, name in compressed.items() if head.startswith(magic)), None)
    if name is None:
        return "it does not begin with a header of one"
    return f"it is compressed ({name}), and members of such a one can't be read by themselves; unpack it to .tar"


def _is_whole(header: bytes) -> bool:
    """Whether a header's checksum is that of its bytes; some old writers took them for signed."""
    try:
        stated = int(header[148:156].split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        return False
    total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if total == stated:
        return True
    return total - 256 * sum(byte > 127 for byte in header[:148] + header[156:]) == stated


def _number(field: bytes, at: int) -> int:
    """Octal digits, or where the first bit is set the number itself."""
    try:
        value = int.from_bytes(field, "big", signed=False) - (0x80 << 88) if field[0] == 0x80 else -1
        if field[0] not in (0x80, 0xFF):
            value = int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        value = -1
    if not 0 <= value < 2**62:
        raise DecodeError(f"is damaged: the header at byte {at:,} states no size")
    return value


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _BLOCK) * _BLOCK


def _short_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _record(kind: int, content: bytes | None, at: int) -> dict[str, str]:
    """What an extended header says of the member that follows it, as far as it matters."""
    if kind == _LONG_LINK:
        return {}
    if content is None:
        raise DecodeError(f"is damaged: an extended header at byte {at:,} is longer than {_MAX_RECORD:,} bytes")
    if kind == _LONG_NAME:
        return {"path": content.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    records = dict(_pairs(content, at))
    stated = {key: value for key, value in records.items() if key in ("path", "size")}
    if any(key.startswith("GNU.sparse.") for key in records):
        stated["sparse"] = "yes"
        stated["path"] = records.get("GNU.sparse.name", stated.get("path", ""))
    if kind != _GLOBAL:
        return stated
    if stated:
        raise DecodeError(f"can't be read: the header at byte {at:,} states one {' and '.join(stated)} for all members")
    return {}


def _pairs(content: bytes, at: int) -> Iterator[tuple[str, str]]:
    """The records of an extended header: a length, a key and a value each."""
    start = 0
    while start < len(content) and content[start] != 0:
        space = content.find(b" ", start, start + 20)
        try:
            end = start + int(content[start:space])
        except ValueError:
            end = start
        if space < 0 or end <= space or end > len(content):
            raise DecodeError(f"is damaged: the extended header at byte {at:,} can't be read")
        key, _, value = content[space + 1 : end - 1].partition(b"=")
        yield key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        start = end


def _stated_size(text: str, at: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise DecodeError(f"is damaged: the header at byte {at:,} states no size")
    return int(text)


def _after_sparse(file: BinaryIO, header: bytes, start: int) -> int:
    """Where the data of an old GNU sparse member begins: behind the blocks that list its parts."""
    more = header[156] == _SPARSE and header[482] != 0
    file.seek(start)
    while more:
        block = file.read(_BLOCK)
        start += _BLOCK
        more = len(block) == _BLOCK and block[504] != 0
    return start

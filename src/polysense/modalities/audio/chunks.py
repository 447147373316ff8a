"""Sound chunks of uncompressed files (WAV, RF64, W64, AIFF, AU, CAF): how much they state, and how much is there.

A recorder that streamed could not come back to its header: it left 0, or the largest number there is, and what follows
up to the file's end is sound. libsndfile takes some of these for an empty file; its header is then read with the true
size in it. A smaller number that is beyond the end is a file that was cut short, which libsndfile passes over.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import RawIOBase
from typing import Any

from polysense.data.media.media import Stream

__all__ = ["Patched", "SoundChunk", "sound_chunk"]

_MAX_CHUNKS = 10_000
_OPEN_32 = 0x7FFFF000  # from here on a 32-bit size means "until the end"
_OPEN_64 = 2**62
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
_AU_ENCODED = frozenset({1, 2, 3, 4, 5, 6, 7, 27})


@dataclass(frozen=True)
class SoundChunk:
    """What a file's header says of its sound.

    Attributes:
        stated: Bytes; None where the header leaves it open.
        present: Bytes up to the file's end.
        patches: Per position in the file the bytes that would state the size as it is; empty where none is open.
    """

    stated: int | None
    present: int
    patches: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Bytes that the file lacks."""
        return 0 if self.stated is None else max(0, self.stated - self.present)


def sound_chunk(file: Stream, num_bytes: int) -> SoundChunk | None:
    """The sound chunk of a file; None if the format is none of these, or the header is broken.

    Args:
        file: Its position is moved.
        num_bytes: The file's length.
    """
    file.seek(0)
    head = file.read(40)
    try:
        if head[8:12] == b"WAVE" and head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            return _wav(file, num_bytes, head)
        if head[:4] == b"riff" and head[24:28] == b"wave":
            return _w64(file, num_bytes)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(file, num_bytes)
        if head[:4] == b".snd":
            return _au(num_bytes, head)
        if head[:4] == b"caff":
            return _caf(file, num_bytes)
    except struct.error:
        pass
    return None


def _wav(file: Stream, num_bytes: int, head: bytes) -> SoundChunk | None:
    order = ">" if head[:4] == b"RIFX" else "<"
    at, wide_at, wide = 12, 0, None
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        name, size = struct.unpack(order + "4sI", file.read(8))
        if name == b"ds64" and head[:4] in (b"RF64", b"BW64"):
            wide_at = at + 16
            file.seek(wide_at)
            (wide,) = struct.unpack("<Q", file.read(8))
        elif name == b"data":
            present = num_bytes - at - 8
            if wide is not None:
                is_open = wide >= _OPEN_64 or (wide == 0 and not _are_chunks(file, at + 8, num_bytes, order))
                if not is_open:
                    return SoundChunk(wide if size == 0xFFFFFFFF else size, present)
                whole = struct.pack("<QQQ", num_bytes - 8, present, 0)
                return SoundChunk(None, present, {wide_at - 8: whole})
            if size == 0 and present and not _are_chunks(file, at + 8, num_bytes, order):
                return SoundChunk(None, present, {at + 4: b"\xff\xff\xff\xff", 4: b"\xff\xff\xff\xff"})
            return SoundChunk(None if size >= _OPEN_32 else size, present)
        at += 8 + size + (size & 1)
    return None


def _are_chunks(file: Stream, at: int, num_bytes: int, order: str) -> bool:
    """Whether what follows an empty chunk is others, up to the file's end, or nothing."""
    while at < num_bytes:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return False
        name, size = struct.unpack(order + "4sI", head)
        if not name.isascii() or not name.strip().isalnum():
            return False
        at += 8 + size + (size & 1)
    return at <= num_bytes + 1


def _w64(file: Stream, num_bytes: int) -> SoundChunk | None:
    at = 40
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        name, size = struct.unpack("<16sQ", file.read(24))
        if name == _W64_DATA:
            present = num_bytes - at - 24
            if size <= 24 or size >= _OPEN_64:
                patches = {16: struct.pack("<Q", num_bytes), at + 16: struct.pack("<Q", present + 24)}
                return SoundChunk(None, present, patches)
            return SoundChunk(size - 24, present)
        at += max(24, -(-size // 8) * 8)
        if at > num_bytes:
            return None
    return None


def _aiff(file: Stream, num_bytes: int) -> SoundChunk | None:
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        name, size = struct.unpack(">4sI", file.read(8))
        if name == b"SSND":
            is_open = size <= 8 or size >= _OPEN_32
            return SoundChunk(None if is_open else size, num_bytes - at - 8)
        at += 8 + size + (size & 1)
    return None


def _au(num_bytes: int, head: bytes) -> SoundChunk:
    start, size, encoding = struct.unpack(">III", head[4:16])
    present = num_bytes - start
    if size == 0 and present > 0 and encoding in _AU_ENCODED:
        return SoundChunk(None, present, {8: b"\xff\xff\xff\xff"})
    return SoundChunk(None if size >= _OPEN_32 else size, present)


def _caf(file: Stream, num_bytes: int) -> SoundChunk | None:
    at = 8
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        name, size = struct.unpack(">4sq", file.read(12))
        if name == b"data":
            return SoundChunk(size if size >= 0 else None, num_bytes - at - 12)
        if size < 0:
            return None
        at += 12 + size
    return None


class Patched(RawIOBase):
    """A file that is read with some bytes replaced."""

    def __init__(self, file: Stream, patches: Mapping[int, bytes]) -> None:
        self._file, self._patches = file, patches

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """See io; a place that a damaged header asks for and that there is not is passed over."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self._file.tell()

    def tell(self) -> int:
        """See io."""
        return self._file.tell()

    def readinto(self, buffer: Any, /) -> int:
        """See io."""
        start = self._file.tell()
        view = memoryview(buffer)
        data = self._file.read(len(view))
        view[: len(data)] = data
        for at, patch in self._patches.items():
            low, high = max(at, start), min(at + len(patch), start + len(data))
            if low < high:
                view[low - start : high - start] = patch[low - at : high - at]
        return len(data)

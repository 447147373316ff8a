"""Containers of media: whether a file holds all the bytes that its own structure states.

A header's counts and times are often wrong in files that are whole: an edit list hides frames, an editor drops some, a
recorder never comes back to write the length. Its structure is not: each box, chunk or element says how many bytes it
has, and in a file that was cut short the last one reaches beyond the end. That is what is looked at here, in a few
thousand reads at most. Where a structure leaves its size open (a live recording), nothing is known.
"""

from __future__ import annotations

import struct

from polysense.data.media.media import Stream

__all__ = ["missing_bytes"]

_MAX_PARTS = 1_000_000
_ISO_TYPES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"pnot",
     b"meta", b"emsg", b"prft", b"pdin", b"udta", b"junk", b"PICT"}
)  # fmt: skip
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_ASF = b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel"
_SYNC = b"OggS"
_TAIL = 2**17  # bytes: an Ogg page has at most 65,307


def missing_bytes(file: Stream, num_bytes: int) -> int | None:
    """How many bytes a file lacks by what its structure states.

    Args:
        file: Its position is moved.
        num_bytes: The file's length.

    Returns:
        0 for a file that is whole, None where its format or its header does not tell.
    """
    file.seek(0)
    head = file.read(16)
    if head[4:8] in _ISO_TYPES:
        return _iso(file, num_bytes)
    if head[:4] in (b"RIFF", b"RIFX") and len(head) == 16:
        return _riff(file, num_bytes, head)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _matroska(file, num_bytes)
    if head == _ASF:
        return _asf(file, num_bytes)
    if head[:4] == b"FLV\x01":
        return _flv(file, num_bytes)
    if head[:4] == _SYNC:
        return _ogg(file, num_bytes)
    return None


def _iso(file: Stream, num_bytes: int) -> int | None:
    """MP4, MOV, M4A, 3GP: boxes, one after another."""
    at = 0
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return 0  # what is left is no box; FFmpeg does not read it either
        size, kind = struct.unpack(">I4s", head[:8])
        if kind not in _ISO_TYPES:
            return 0
        if size == 0:
            return None  # to the file's end, wherever that is
        if size == 1:
            if len(head) < 16:
                return 16 - len(head)
            (size,) = struct.unpack(">Q", head[8:16])
        if size < 8:
            return 0
        at += size
        if at >= num_bytes:
            return int(at - num_bytes)
    return None


def _riff(file: Stream, num_bytes: int, head: bytes) -> int | None:
    """AVI: one RIFF chunk, or several of a gigabyte each."""
    order = "<" if head[:4] == b"RIFF" else ">"
    at = 0
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[:4] not in (b"RIFF", b"RIFX"):
            return 0
        (size,) = struct.unpack(order + "I", head[4:8])
        if size < 4 or size >= 0x7FFFF000:
            return None  # a recorder that streamed
        at += 8 + size
        if at > num_bytes:
            return int(at - num_bytes)
        at += size & 1
    return None


def _matroska(file: Stream, num_bytes: int) -> int | None:
    """MKV, WebM: a header and a segment; where the segment's size is open, the elements in it."""
    at, end = 0, num_bytes
    is_inside = False
    for _ in range(_MAX_PARTS):
        if at >= end:
            return 0
        file.seek(at)
        element = _element(file.read(12))
        if element is None:
            return None if num_bytes - at >= 12 else 1
        kind, size, length = element
        if kind == _SEGMENT and not is_inside:
            if size is not None:
                return max(0, at + length + size - num_bytes)
            is_inside, at = True, at + length
            continue
        if size is None:
            return None
        at += length + size
        if at > num_bytes:
            return at - num_bytes
    return None


def _element(head: bytes) -> tuple[int, int | None, int] | None:
    """(id, size or None where it is open, length of both) of an EBML element; None if the bytes are none."""
    if not head or head[0] < 0x10:
        return None
    id_length = 9 - head[0].bit_length()
    if len(head) <= id_length or head[id_length] == 0:
        return None
    size_length = 9 - head[id_length].bit_length()
    length = id_length + size_length
    if len(head) < length:
        return None
    bits = (1 << (7 * size_length)) - 1
    size = int.from_bytes(head[id_length:length], "big") & bits
    return int.from_bytes(head[:id_length], "big"), None if size == bits else size, length


def _asf(file: Stream, num_bytes: int) -> int | None:
    """WMV, WMA: objects, one after another."""
    at = 0
    for _ in range(_MAX_PARTS):
        file.seek(at + 16)
        head = file.read(8)
        if len(head) < 8:
            return 0
        (size,) = struct.unpack("<Q", head)
        if size < 24 or size >= 2**62:
            return None  # a broadcast
        at += size
        if at >= num_bytes:
            return int(at - num_bytes)
    return None


def _flv(file: Stream, num_bytes: int) -> int | None:
    """Tags, each followed by its length."""
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] & 0xC0:
            return None  # what is left is no tag; the header's length is looked at
        at += 11 + int.from_bytes(head[1:4], "big")
        if at > num_bytes:
            return at - num_bytes
        at += 4
    return None


def _ogg(file: Stream, num_bytes: int) -> int | None:
    """Pages; the last one must be there to its end."""
    start = max(0, num_bytes - _TAIL)
    file.seek(start)
    tail = file.read(_TAIL)
    at = tail.rfind(_SYNC)
    while at >= 0:
        header = tail[at : at + 27]
        if len(header) < 27:
            return 27 - len(header)
        if header[4] == 0:  # the version: else the letters stand inside of a page
            lengths = tail[at + 27 : at + 27 + header[26]]
            if len(lengths) < header[26]:
                return header[26] - len(lengths)
            return max(0, at + 27 + header[26] + sum(lengths) - len(tail))
        at = tail.rfind(_SYNC, 0, at)
    return None

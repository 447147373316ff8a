"""How many bytes a file lacks by its own structure, for containers made by hand."""

from __future__ import annotations

import io
import struct

import pytest

from polysense.data.media.containers import missing_bytes


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


MP4 = box(b"ftyp", b"isom") + box(b"moov", bytes(40)) + box(b"mdat", bytes(100))
MP4_LARGE = box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 116) + bytes(100)
AVI = b"RIFF" + struct.pack("<I", 104) + b"AVI " + bytes(100)
MKV = b"\x1aE\xdf\xa3\x84" + bytes(4) + b"\x18S\x80g\x01" + (100).to_bytes(7, "big") + bytes(100)
MKV_OPEN = b"\x1aE\xdf\xa3\x84" + bytes(4) + b"\x18S\x80g\xff" + b"\x1fC\xb6u\xc0" + bytes(64)
FLV = b"FLV\x01\x05\0\0\0\x09" + bytes(4) + (b"\x09\0\0\x20" + bytes(7 + 32) + bytes(4)) * 3
OGG = b"OggS\0\x04" + bytes(20) + b"\x01\x40" + bytes(64)
ASF = b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel" + struct.pack("<Q", 124) + bytes(100)


def lacking(data: bytes) -> int | None:
    return missing_bytes(io.BytesIO(data), len(data))


@pytest.mark.parametrize("data", [MP4, MP4_LARGE, AVI, MKV, MKV_OPEN, OGG, ASF])
def test_a_whole_file_lacks_nothing_and_a_cut_one_what_was_cut(data: bytes) -> None:
    assert lacking(data) == 0
    for cut in (1, 10, 40):
        assert lacking(data[:-cut]) == cut


def test_tags_of_flv_tell_of_a_cut_inside_of_one() -> None:
    assert lacking(FLV) is None  # more of them may have followed
    assert lacking(FLV[:-20]) == 16


@pytest.mark.parametrize("data", [MP4 + bytes(50), AVI + bytes(50), MP4 + b"what is no box", AVI + b"JUNK"])
def test_what_follows_the_last_part_is_no_part(data: bytes) -> None:
    assert lacking(data) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x47" + bytes(187),
        box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"mdat") + bytes(100),  # a box up to the end, wherever that is
        b"RIFF\xff\xff\xff\xffAVI " + bytes(100),
        b"RIFF\0\0\0\0AVI " + bytes(100),
    ],
)
def test_an_open_length_tells_nothing(data: bytes) -> None:
    assert lacking(data) is None

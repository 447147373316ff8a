"""What one cell looks like: a picture, a recording, a number, a date, a code.

Media are told by extension where a cell is a path, and by their first bytes where it is the file itself. Nothing is
decoded here.
"""

from __future__ import annotations

import re

from polysense.core.modality import Modality
from polysense.modalities.date.parse import SPELLED

__all__ = ["is_code", "is_date", "is_number", "media_of_bytes", "media_of_text"]

_EXTENSIONS = {
    Modality.IMAGE: "png jpg jpeg jpe jfif webp gif tif tiff bmp ppm pgm pbm pnm tga jp2 avif heic heif ico apng",
    Modality.AUDIO: "wav wave flac mp3 ogg oga opus m4a aac aif aiff aifc wma amr au caf",
    Modality.VIDEO: "mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp ogv mts m2ts",
}
_BY_EXTENSION = {extension: kind for kind, names in _EXTENSIONS.items() for extension in names.split()}

_MAGIC = (
    (b"\x89PNG", Modality.IMAGE),
    (b"\xff\xd8\xff", Modality.IMAGE),
    (b"GIF8", Modality.IMAGE),
    (b"II*\0", Modality.IMAGE),
    (b"MM\0*", Modality.IMAGE),
    (b"BM", Modality.IMAGE),
    (b"\0\0\0\x0cjP  ", Modality.IMAGE),
    (b"fLaC", Modality.AUDIO),
    (b"OggS", Modality.AUDIO),
    (b"ID3", Modality.AUDIO),
    (b"FORM", Modality.AUDIO),
    (b"#!AMR", Modality.AUDIO),
    (b"\x1aE\xdf\xa3", Modality.VIDEO),
    (b"\0\0\x01\xba", Modality.VIDEO),
    (b"\0\0\x01\xb3", Modality.VIDEO),
    (b"FLV\x01", Modality.VIDEO),
)
_RIFF = {b"WAVE": Modality.AUDIO, b"WEBP": Modality.IMAGE, b"AVI ": Modality.VIDEO}

_SPACES = " \u00a0\u202f\u2009"
_NUMBER = re.compile(
    rf"[+\-−]?(?:\d+(?:[.,]\d*)?|[.,]\d+|\d{{1,3}}(?:[{_SPACES}']\d{{3}})+(?:[.,]\d+)?"
    r"|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)?)(?:[eE][+\-]?\d{1,3})?\s?%?"
)


def media_of_text(text: str) -> Modality | None:
    """The medium that a path's extension names, if the text can be a path."""
    text = text.strip()
    stem, dot, extension = text.rpartition(".")
    if not dot or not stem or len(text) > 1024 or "\n" in text:
        return None
    return _BY_EXTENSION.get(extension.lower())


def media_of_bytes(data: bytes) -> Modality | None:
    """The medium that a file's first bytes name."""
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        brand = data[8:11]
        return (
            Modality.AUDIO
            if brand == b"M4A"
            else Modality.IMAGE
            if brand in (b"avi", b"hei", b"mif")
            else Modality.VIDEO
        )
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06:
        return Modality.AUDIO  # an MPEG audio frame
    if data[:2] == b"\xff\xf1" or data[:2] == b"\xff\xf9":
        return Modality.AUDIO  # AAC in ADTS frames
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def is_number(value: object) -> bool:
    """Whether a cell is a number or spells one: "1,5", "1 000", "50%", "1e3", "1.234,5"."""
    return isinstance(value, (int, float)) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value.strip())))


def is_date(text: str) -> bool:
    """Whether a text is a date, a time, or both, in one of the usual spellings."""
    return bool(SPELLED.fullmatch(text.strip()))


def is_code(text: str) -> bool:
    """Whether a text is one string with no spaces that no one would say: a hash, a key, "test_0", "1f600"."""
    text = text.strip()
    if " " in text or not text.isascii() or not text:
        return False
    letters = any(c.isalpha() for c in text)
    digits = any(c.isdigit() for c in text)
    return (
        (letters and digits)
        or (digits and any(c in "-_/:." for c in text))
        or (len(text) > 2 and any(c in "_/\\:" for c in text))
    )

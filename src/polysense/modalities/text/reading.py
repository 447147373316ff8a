"""A cell of a column of texts as a text."""

from __future__ import annotations

import unicodedata

from polysense.core.unicode_text import mended
from polysense.data.media.media import short
from polysense.errors import DecodeError

__all__ = ["read_text"]


def read_text(value: object) -> str:
    """A text in composed characters; numbers and booleans are taken for their usual spelling, bytes for UTF-8.

    Raises:
        DecodeError: It is no text.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError(f"found bytes that are not UTF-8 text: {short(value)}") from None
    elif isinstance(value, (bool, int, float)):
        value = str(value)
    elif not isinstance(value, str):
        raise DecodeError(f"found {short(value)} ({type(value).__name__}), expected a text")
    if value.isascii():
        return value
    return unicodedata.normalize("NFC", mended(value))

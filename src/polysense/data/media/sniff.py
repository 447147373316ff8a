"""Whose file a cell is: told by the extension where it is a path, by the first bytes where it is the file itself.

Nothing is decoded here. What the extensions and signatures are, the modalities say.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from urllib.parse import urlsplit

from polysense.core.registry import modalities
from polysense.data.media.download import is_url

__all__ = ["file_kind", "is_code", "kind_of_bytes", "kind_of_path"]

_HEAD = 16


@functools.cache
def _by_extension() -> Mapping[str, str]:
    return {extension: spec.name for spec in modalities().values() for extension in spec.extensions}


def kind_of_path(text: str) -> str | None:
    """The modality whose files have a path's extension, if the text can be a path."""
    text = text.strip()
    if is_url(text):
        text = urlsplit(text).path if text.isprintable() else ""
    stem, dot, extension = text.rpartition(".")
    if not dot or not stem or len(text) > 1024 or "\n" in text:
        return None
    return _by_extension().get(extension.lower())


def kind_of_bytes(data: bytes) -> str | None:
    """The modality whose files begin so."""
    head = data[:_HEAD]
    return next((spec.name for spec in modalities().values() if spec.is_file and spec.recognizes(head)), None)


def file_kind(item: object) -> str | None:
    """The modality whose file an item of a cell is or names; None if it is none."""
    if isinstance(item, dict) and not item.keys() <= {"bytes", "path"}:
        return next((spec.name for spec in modalities().values() if spec.recognizes_decoded(item)), None)
    if isinstance(item, dict):
        data, path = item.get("bytes"), item.get("path")
        kind = kind_of_bytes(data) if isinstance(data, bytes) else None
        return kind or (kind_of_path(path) if isinstance(path, str) else None)
    if isinstance(item, bytes):
        return kind_of_bytes(item)
    return kind_of_path(item) if isinstance(item, str) else None


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

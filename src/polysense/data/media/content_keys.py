"""Content keys: which cells of files hold the same bytes, without reading every file.

Files of different sizes differ, so only those are read that share their size with another.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from polysense.data.media.media import Media, locate
from polysense.errors import DecodeError

__all__ = ["content_keys"]

_BLOCK = 1 << 20


def content_keys(cells: Sequence[object], roots: Sequence[Path], kind: str) -> list[object]:
    """Per cell what equal cells share; None where it is missing, or names nothing that can be opened.

    Args:
        cells: Each one file or a list of files; all that are to be compared.
        roots: Per cell the folder that relative paths start from.
        kind: Of the files, for messages of errors that are not shown.
    """
    located: dict[object, Media | None] = {}
    listed: list[list[object]] = []
    for cell, root in zip(cells, roots, strict=True):
        parts = [_named(part, root) for part in (cell if isinstance(cell, list) else [cell]) if part is not None]
        listed.append([name for name, _ in parts])
        for name, part in parts:
            if name not in located:
                located[name] = _located(part, root, kind)
    sizes = Counter(media.num_bytes for media in located.values() if media is not None)
    keys = {name: None if media is None else _key(media, sizes) for name, media in located.items()}
    result: list[object] = []
    for names in listed:
        own = [keys[name] for name in names]
        result.append(None if not own or None in own else own[0] if len(own) == 1 else tuple(own))
    return result


def _named(part: object, root: Path) -> tuple[object, object]:
    """What tells the parts of cells apart before anything is opened."""
    if isinstance(part, dict):
        data, path = part.get("bytes"), part.get("path")
        part = path if data is None else data
    return (bytes(part) if isinstance(part, (bytes, bytearray, memoryview)) else (root, str(part))), part


def _located(part: object, root: Path, kind: str) -> Media | None:
    try:
        return locate(part, root, kind)
    except DecodeError:
        return None


def _key(media: Media, sizes: Counter[int]) -> object:
    """The size where no other file has it, else a hash of the content; None where it can't be read any more."""
    if sizes[media.num_bytes] == 1:
        return media.num_bytes
    digest = hashlib.blake2b(digest_size=16)
    try:
        with media.open() as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (DecodeError, OSError):
        return None
    return digest.digest()

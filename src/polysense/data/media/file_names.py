"""Names of files that look the same: "é" may be one character, or an e and an accent.

A Mac spells names the second way, most other systems the first, so a table made on one and files unpacked on the other
differ in names that nobody can tell apart. A name is tried as it stands first; nothing is renamed.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

__all__ = ["existing"]


def existing(path: Path) -> Path:
    """The path itself, or where nothing is there, the one of the same look that is; the path itself if none is."""
    return path if str(path).isascii() else _same_look(path) or path


def _same_look(path: Path) -> Path | None:
    try:
        if os.path.lexists(path):
            return path
        if path.parent == path:
            return None
        folder = _same_look(path.parent)
        if folder is None:
            return None
        if os.path.lexists(folder / path.name):
            return folder / path.name
        name = _names(str(folder), folder.stat().st_mtime_ns).get(unicodedata.normalize("NFC", path.name))
    except (OSError, ValueError):
        return None
    return None if name is None else folder / name


@functools.lru_cache(maxsize=32)
def _names(folder: str, changed: int) -> Mapping[str, str]:
    """A folder's names by how they look; looked up again once it has changed."""
    names = (path.name for path in Path(folder).iterdir() if not path.name.isascii())
    return {unicodedata.normalize("NFC", name): name for name in sorted(names)}

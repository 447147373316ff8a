"""Paths in cells: which file a cell names, and whether it may be read.

Every media file is reached through `find_file`: images, audio, videos, series, masks, and the first look at a column.
So the rule about files outside of the table's folder stands in one place. The rule is carried by the folder itself (a
`ConfinedFolder` in place of a plain one), for that is what travels with a table: into worker processes, too.

The rule: what counts is the file that is opened, after every symbolic link and `..` has been followed. A link inside
the folder that leads out of it is refused, one that stays inside is not; the folder itself may be reached by a link.
Hard links can't be told from files. Whether a refused file exists is not said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from polysense.data.media.file_names import existing
from polysense.errors import DecodeError

if sys.platform == "win32":
    from pathlib import WindowsPath as _NativePath
else:
    from pathlib import PosixPath as _NativePath

__all__ = ["ConfinedFolder", "find_file", "resolve"]


class ConfinedFolder(_NativePath):
    """A folder that cells may not lead out of: `root=ConfinedFolder("uploads")` wherever a `root` is taken."""


def resolve(root: Path, text: str) -> Path:
    r"""The file that a cell names; a pure function of the text, the disk is not looked at.

    Understands relative and absolute paths, `./x`, `~/x`, backslashes (`images\cat.png`; a backslash always separates
    folders) and `file://` URLs, which alone are percent-decoded. Surrounding whitespace is no part of a path.

    Raises:
        DecodeError: The text is a URL of another kind, or can't be a path.
    """
    text = text.strip()
    if "\0" in text:
        raise DecodeError(f"{text[:80]!r} holds a NUL character, which no path does")
    scheme, separator, _ = text.partition("://")
    if separator and scheme.isalnum():
        if scheme.lower() != "file":
            raise DecodeError(f"{text[:200]!r} is a URL; nothing is downloaded here, download it and name the file")
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise DecodeError(f"{text[:200]!r} names a file on another machine, {parts.netloc!r}")
        text = unquote(text.partition("://")[2].removeprefix(parts.netloc))
    path = Path(text.replace("\\", "/"))
    if path.parts[:1] != ("~",):
        return root / path
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise DecodeError(f"{text[:80]!r} names a file in a home folder, and there is none: {error}") from None


def find_file(root: Path, named: str | Path) -> Path:
    """The file that a cell names, as it may be opened; it need not exist.

    A name that is there in another Unicode form only (a table written on a Mac spells é as e and an accent) is that
    file.

    Args:
        root: The folder that relative paths start from.
        named: The cell.

    Raises:
        DecodeError: It can't be a path, or it lies outside of a `ConfinedFolder`.
    """
    path = resolve(root, named) if isinstance(named, str) else root / named
    path = existing(path)
    if not isinstance(root, ConfinedFolder):
        return path
    inside, file = os.path.realpath(root), os.path.realpath(path)
    if os.path.commonpath([inside, file]) != inside:
        raise DecodeError(
            f"{str(named)[:200]!r} lies outside of the table's folder, and allow_outside is off "
            "(a symbolic link counts as what it leads to)"
        )
    return Path(file)

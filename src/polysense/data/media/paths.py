"""Paths in cells: which file a cell names, and whether it may be read.

Every media file is reached through `find_file`: images, audio, videos, series, masks, and the first look at a column.
So the rule about files outside of the table's folder stands in one place. The rule is carried by the folder itself (a
`ConfinedFolder` in place of a plain one), for that is what travels with a table: into worker processes, too.

The rule: what counts is the file that is opened, after every symbolic link and `..` has been followed. A link inside
the folder that leads out of it is refused, one that stays inside is not; the folder itself may be reached by a link.
Hard links can't be told from files. Whether a refused file exists is not said.

A URL names a file of the web, which is downloaded (`data.media.download`), or an object of cloud storage, which is
fetched (`data.media.objects`), where the folder is an `OnlineFolder`, and nowhere else. A table that was read from an
address has a `RemoteFolder`: its cells name what lies below it there, and nothing of this machine.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from polysense.core.addresses import address, is_object
from polysense.data.media.archives import SUFFIX
from polysense.data.media.download import downloads, is_url
from polysense.data.media.file_names import existing
from polysense.data.media.objects import objects
from polysense.errors import DecodeError

if sys.platform == "win32":
    from pathlib import WindowsPath as _NativePath
else:
    from pathlib import PosixPath as _NativePath

__all__ = [
    "ConfinedFolder",
    "ConfinedOnlineFolder",
    "OnlineFolder",
    "RemoteFolder",
    "RemoteOnlineFolder",
    "fetched",
    "find_file",
    "is_out_of_reach",
    "media_folder",
    "resolve",
]


class ConfinedFolder(_NativePath):
    """A folder that cells may not lead out of: `root=ConfinedFolder("uploads")` wherever a `root` is taken."""


class OnlineFolder(_NativePath):
    """A folder beside which cells may name files of the web by URL."""


class ConfinedOnlineFolder(ConfinedFolder, OnlineFolder):
    """A folder that cells may not lead out of, beside which they may name files of the web."""


class RemoteFolder(_NativePath):
    """A folder of object storage or of the web, which a table was read from: its path is the address."""

    @property
    def url(self) -> str:
        """The address."""
        return address(self) or str(self)

    def absolute(self) -> RemoteFolder:
        """Itself: it starts nowhere on this machine."""
        return self

    def expanduser(self) -> RemoteFolder:
        """Itself."""
        return self


class RemoteOnlineFolder(RemoteFolder, OnlineFolder):
    """A remote folder beside which cells may name other files by URL."""


def media_folder(folder: Path | str, *, allow_outside: bool = True, allow_urls: bool = False) -> Path:
    """A folder with what cells may name beside the files in it, for wherever a `root` is taken.

    Args:
        folder: That relative paths start from. One that was confined or allowed URLs before still is, and does.
        allow_outside: Whether files of this machine outside of it may be read.
        allow_urls: Whether URLs are downloaded.
    """
    is_confined = not allow_outside or isinstance(folder, ConfinedFolder)
    is_online = allow_urls or isinstance(folder, OnlineFolder)
    if isinstance(folder, RemoteFolder) or address(folder) is not None:
        return RemoteOnlineFolder(folder) if is_online else RemoteFolder(folder)
    if is_confined:
        return ConfinedOnlineFolder(folder) if is_online else ConfinedFolder(folder)
    return OnlineFolder(folder) if is_online else Path(folder)


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
            raise DecodeError(
                f"{text[:200]!r} is a URL, and nothing is downloaded unless data.allow_urls (--allow-urls) is on"
                if is_url(text) or is_object(text)
                else f"{text[:200]!r} is a URL of {scheme[:20]!r}, which is not read; download it and name the file"
            )
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


def is_out_of_reach(root: Path, text: str) -> bool:
    """Whether a cell is a URL that is neither of this machine's files nor may be downloaded."""
    is_remote = re.match(r"\s*(?!file:)\w+://", text) is not None
    if isinstance(root, RemoteFolder) and text.strip().startswith(f"{root.url}/"):
        return False
    return is_remote and not (isinstance(root, OnlineFolder) and (is_url(text) or is_object(text)))


def find_file(root: Path, named: str | Path) -> Path:
    """The file that a cell names, as it may be opened; it need not exist.

    A name that is there in another Unicode form only (a table written on a Mac spells é as e and an accent) is that
    file.

    Args:
        root: The folder that relative paths start from.
        named: The cell.

    Raises:
        DecodeError: It can't be a path, it lies outside of a `ConfinedFolder`, or it is a URL that may not be
            downloaded, or can't be.
    """
    if isinstance(root, OnlineFolder) and isinstance(named, str) and (is_url(named) or is_object(named)):
        return _through_archive(named.strip())
    if isinstance(root, RemoteFolder):
        return _through_archive(_below(root, str(named)))
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


def fetched(url: str, *, is_table: bool = False) -> Path:
    """The file that an address names, fetched unless it was before.

    Args:
        url: Of the web or of object storage.
        is_table: As of `Objects.file`.

    Raises:
        DecodeError: It can't be, or may not be; says why.
    """
    return downloads().file(url) if is_url(url) else objects().file(url, is_table=is_table)


def _below(root: RemoteFolder, named: str) -> str:
    """The address of what a cell names below a remote folder."""
    text = named.strip()
    if text.startswith(f"{root.url}/"):
        return text
    parts = text.replace("\\", "/").split("/")
    if "\0" in text or "://" in text or not parts[0] or parts[0] == "~" or ".." in parts or ":" in parts[0]:
        raise DecodeError(
            f"{text[:200]!r} is not below the table's folder, {root.url}, and data.allow_urls (--allow-urls) is off"
        )
    return f"{root.url}/{'/'.join(part for part in parts if part not in ('', '.'))}"


def _through_archive(url: str) -> Path:
    """The file of an address; of one that leads through an archive, the archive's file and the member's name."""
    start, separator, member = url.partition(f"{SUFFIX}/")
    return fetched(start + SUFFIX) / member if separator else fetched(url)

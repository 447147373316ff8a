"""Keys of cells by their content: what files hold, or the text itself; not where a file lies, nor in which row.

A file is hashed once for each time that it was changed. What was hashed is known again by its path, size, inode and the
times of its last changes to the nanosecond; the time of a change of its status can't be set by anybody, so a file that
was changed and given its old date is noticed. A file that was changed a moment ago is hashed each time: a second
change could bear the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysense.core.lock import locked
from polysense.data.media.media import MAX_BYTES, Media, locate
from polysense.data.store.blob import KEY_BYTES, Blob
from polysense.errors import DecodeError, LockedError

__all__ = ["CellKeys", "FileDigests", "hashed"]

_BLOCK = 2**20
_SETTLED = 2.0  # seconds after which no second change can bear the same time, on the coarsest of file systems
_FOLDER = "files-1"
_FACTS = struct.Struct("<QQqq")
_PART = struct.Struct("<QQ")


def hashed(parts: Sequence[bytes]) -> bytes:
    """A hash of some parts, each with its length."""
    result = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        result.update(len(part).to_bytes(8, "little"))
        result.update(part)
    return result.digest()


class FileDigests:
    """What files hold, as hashes.

    Args:
        folder: Where what was hashed before is written down; None: nowhere.

    Attributes:
        new: What was hashed since, and is not written down yet, by the file's identity.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = None if folder is None else folder / _FOLDER
        self.new: dict[bytes, bytes] = {}
        self._taken: dict[bytes, bytes] = {}
        self._known = None if self._folder is None else _opened(self._folder)

    def digest(self, media: Media, *, large: bool = False, reads: bool = True) -> bytes | None:
        """A hash of a file's content and its kind by name; None where it is too large, or not known.

        Args:
            media: A file.
            large: Whether files are hashed that are larger than what is read whole.
            reads: Whether files are hashed that were not hashed before.

        Raises:
            OSError: It can't be read.
            DecodeError: Likewise.
        """
        assert media.path is not None
        status = media.path.stat()
        facts = _FACTS.pack(status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        path = media.path if media.path.is_absolute() else media.path.absolute()
        part = [] if media.member is None else [_PART.pack(media.member.offset, media.num_bytes), media.suffix.encode()]
        identity = hashed([facts, os.fsencode(path), *part])
        result = self.new.get(identity) or self._taken.get(identity)
        if result is None and self._known is not None and (known := self._known.get(identity)) is not None:
            result = known[1]["digest"].tobytes()
        if result is None:
            if not reads or (media.num_bytes > MAX_BYTES and not large):
                return None
            result = _hashed_file(media)
            if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
                self.new[identity] = result
        return result

    def take_new(self) -> dict[bytes, bytes]:
        """What was hashed since it was asked for before, for a process that writes it down."""
        new, self.new = self.new, {}
        self._taken |= new
        return new

    def write(self, new: Mapping[bytes, bytes]) -> None:
        """Writes down what was hashed, unless somebody else does so at this moment.

        Raises:
            OSError: It can't be written.
        """
        if self._folder is None or not new:
            return
        with contextlib.suppress(LockedError), locked(self._folder):
            self._known = known = _opened(self._folder)
            with known.appending():
                for identity, digest in new.items():
                    if identity not in known:
                        known.add(identity, [], [np.frombuffer(digest, "<u8")])


class CellKeys:
    """The contents of one column's cells, as hashes.

    Args:
        is_media: Whether cells refer to files.
        digests: What is known of files; None: nothing yet.
        large, reads: As in `FileDigests.digest`.
    """

    def __init__(
        self, *, is_media: bool, digests: FileDigests | None = None, large: bool = False, reads: bool = True
    ) -> None:
        self.digests = FileDigests() if digests is None else digests
        self._is_media, self._large, self._reads = is_media, large, reads

    def content(self, cell: object, root: Path) -> bytes | None:
        """The same for two cells that hold the same; None where that can't be told.

        Args:
            cell: As the table has it, not missing.
            root: The folder that relative paths start from.
        """
        if isinstance(cell, list):
            parts = [b"" if part is None else self.content(part, root) for part in cell]
            there = [part for part in parts if part is not None]
            return hashed([b"list", *there]) if len(there) == len(parts) else None
        if self._is_media:
            return self._media(cell, root)
        return (
            hashed([type(cell).__name__.encode(), str(cell).encode("utf-8", "surrogatepass")])
            if isinstance(cell, str | int | float)
            else None
        )

    def _media(self, cell: object, root: Path) -> bytes | None:
        try:
            media = locate(cell, root, "media")
            if media.path is None:
                return hashed([media.read()]) if media.num_bytes <= MAX_BYTES else None
            return self.digests.digest(media, large=self._large, reads=self._reads)
        except (DecodeError, OSError):  # whoever decodes it says why
            return None


def _opened(folder: Path) -> Blob:
    return Blob(folder / "files.bin", folder / "index.bin", [("digest", "<u8", (2,))])


def _hashed_file(media: Media) -> bytes:
    suffix = os.fsencode(media.suffix)
    result = hashlib.blake2b(len(suffix).to_bytes(8, "little") + suffix, digest_size=KEY_BYTES)
    with media.open() as file:
        while block := file.read(_BLOCK):
            result.update(block)
    return result.digest()

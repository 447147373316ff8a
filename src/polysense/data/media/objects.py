"""Objects of cloud storage (s3, gs, az, ...) as files of this machine: fetched by fsspec once, and kept.

An object is kept under a hash of its address and of what its storage says of it (ETag, generation, size, time), so a
changed one is fetched anew and an unchanged one never again, by whatever run. Where it lies is the folder of downloads,
within whose bound the oldest go first. Each process asks once for an object's state.

Only storage is read this way: an address of this machine's files or network, or one that leads through another
protocol, is refused before any library sees it, for a table may be a stranger's. What its storage asks for (keys,
endpoints) comes from the environment, as that library reads it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from polysense.core.addresses import OBJECTS, address
from polysense.core.error_text import first_line
from polysense.core.files import replacing
from polysense.core.logs import get_logger
from polysense.core.machine import max_cache_bytes
from polysense.data.media.kept_files import downloads_folder, make_room, most_bytes_of_file
from polysense.errors import DecodeError

__all__ = ["Objects", "objects"]

_log = get_logger("polysense.data.media")

_LONGEST = 4096
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,8})?\.[a-z0-9]{1,8}$")
_WAITS = (0.5, 2.0)  # seconds before a second and a third try
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "adl": "adlfs", "oci": "ocifs", "oss": "ossfs",
}  # fmt: skip

T = TypeVar("T")


class Objects:
    """Objects of cloud storage, in a folder.

    Args:
        folder: By default `downloads` in $POLYSENSE_CACHE, else in the user's cache folder.
        most_bytes: Of an object that a cell names; by default $POLYSENSE_DOWNLOAD_BYTES, else 256 MiB.
        all_bytes: Of the folder, and of a table; by default $POLYSENSE_CACHE_BYTES, else 20 GiB.
        waits: Seconds before each further try.

    Raises:
        ConfigError: A variable holds no number.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        most_bytes: int | None = None,
        all_bytes: int | None = None,
        waits: tuple[float, ...] = _WAITS,
    ) -> None:
        self.folder = (downloads_folder() if folder is None else folder) / "files"
        self._most = most_bytes_of_file() if most_bytes is None else most_bytes
        self._all = max_cache_bytes() if all_bytes is None else all_bytes
        self._waits = waits
        self._known: dict[str, Path] = {}
        self._failed: dict[str, str] = {}
        self._storage: dict[str, Any] = {}

    def file(self, url: str, *, is_table: bool = False) -> Path:
        """The file that an object is.

        Args:
            url: Its address.
            is_table: Whether it may be as large as the folder, since its user named it and no cell.

        Raises:
            DecodeError: It can't be read; says why.
        """
        url = checked(url)
        known = self._known.get(url)
        if known is not None and known.exists():
            return known
        if url in self._failed:
            raise DecodeError(self._failed[url])
        try:
            path = self._fetched(url, self._all if is_table else self._most)
        except DecodeError as error:
            self._failed[url] = str(error)
            raise
        self._known[url] = path
        return path

    def take_known(self, other: Objects) -> None:
        """Takes over which objects are at hand, so that their storage is not asked again."""
        self._known |= other._known
        self._failed |= other._failed

    def _fetched(self, url: str, most: int) -> Path:
        storage = self._of(url)
        facts = self._tried(url, lambda: storage.info(url))
        if facts.get("type") == "directory":
            raise DecodeError(f"{url} is a folder, expected a file")
        size = facts.get("size")
        if isinstance(size, int) and size > most:
            raise DecodeError(f"{url} has {size:,} bytes, expected at most {most:,}")
        state = hashlib.sha256("\0".join((url, *(f"{key}={facts[key]}" for key in sorted(facts)))).encode()).hexdigest()
        suffix = _SUFFIX.search(PurePosixPath(url).name.lower()[1:])
        path = self.folder / f"{state}{suffix.group() if suffix else ''}"
        try:
            if path.is_file():
                os.utime(path)
                return path
            self.folder.mkdir(parents=True, exist_ok=True)
            make_room(self.folder, size if isinstance(size, int) else most, self._all)
            with replacing(path, durable=False) as part:
                self._tried(url, lambda: storage.get_file(url, str(part)))
                there = part.stat().st_size
                if there > most:
                    raise DecodeError(f"{url} has {there:,} bytes, expected at most {most:,}")
                if isinstance(size, int) and there != size:
                    raise DecodeError(f"{url}: {there:,} of its {size:,} bytes were sent")
        except OSError as error:
            raise DecodeError(f"{url} can't be kept in {self.folder}: {error.strerror or error}") from None
        return path

    def named(self, pattern: str) -> list[str]:
        """The addresses of the objects that fit a pattern, or that lie in a folder, in order.

        Raises:
            DecodeError: The storage can't be read, or there is no such folder.
        """
        url = checked(pattern)
        storage = self._of(url)
        folder, _, name = url.rpartition("/")
        if not re.search(r"[*?\[]", name):
            folder, name = url.rstrip("/"), "*"
        scheme = url.partition("://")[0]
        names = self._tried(folder, lambda: storage.ls(folder, detail=False))
        urls = [f"{scheme}://{str(each).partition('://')[2] or str(each).lstrip('/')}" for each in names]
        return sorted(each for each in urls if fnmatch.fnmatchcase(each.rpartition("/")[2], name))

    def is_folder(self, url: str) -> bool:
        """Whether an address is a folder's.

        Raises:
            DecodeError: The storage can't be read.
        """
        url = checked(url)
        storage = self._of(url)
        return bool(self._tried(url, lambda: storage.isdir(url)))

    def _of(self, url: str) -> Any:
        scheme = url.partition("://")[0]
        if scheme in self._storage:
            return self._storage[scheme]
        import fsspec

        try:
            made = fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=scheme != "memory")
        except ImportError:
            package = _PACKAGES.get(scheme, "a package for it")
            raise DecodeError(f"{url}: {scheme}:// needs the package {package}; pip install {package}") from None
        except Exception as error:  # noqa: BLE001 (whatever a storage's library raises over its settings)
            raise DecodeError(f"{url}: its storage can't be opened: {first_line(error, 200)}") from None
        self._storage[scheme] = made
        return made

    def _tried(self, url: str, read: Callable[[], T]) -> T:
        """What storage answers, asked again where it may have been busy."""
        for wait in (*self._waits, None):
            try:
                return read()
            except (DecodeError, MemoryError):
                raise
            except FileNotFoundError:
                raise DecodeError(f"no such object: {url}") from None
            except PermissionError as error:
                raise DecodeError(f"{url}: permission denied: {first_line(error, 200)}") from None
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None and getattr(error, "filename", None):
                    raise  # of this machine's disk
                if wait is None:
                    message = f"{type(error).__name__}: {first_line(error, 200)}"
                    raise DecodeError(f"{url} can't be read after {len(self._waits) + 1} tries: {message}") from None
                _log.info("%s: %s; tried again", url, first_line(error, 200))
                time.sleep(wait)
        raise AssertionError("a last try returns or raises")


def checked(url: str) -> str:
    """An object's address, as storage is asked for it.

    Raises:
        DecodeError: It is none, leads through another protocol or out of its folder, or holds what no address does.
    """
    text = address(url) or ""
    scheme, _, rest = text.partition("://")
    if scheme not in OBJECTS:
        raise DecodeError(
            f"{url[:200]!r} is no address of object storage; expected one of {', '.join(OBJECTS[:6])}, ..."
        )
    if len(text) > _LONGEST:
        raise DecodeError(f"is an address of {len(text):,} characters, expected at most {_LONGEST:,}")
    if (
        any(ord(letter) < 32 or ord(letter) == 127 for letter in text)
        or "::" in text
        or "\\" in text
        or "@" in rest.split("/")[0]
    ):
        raise DecodeError(f"{text[:200]!r} holds what no address of an object does")
    if ".." in rest.split("/"):
        raise DecodeError(f"{text[:200]!r} leads out of its folder")
    return text


_own: dict[int, Objects] = {}


def objects() -> Objects:
    """Those of this process: storage's connections are not to be shared with a forked one."""
    made = _own.get(os.getpid())
    if made is None:
        made = Objects()
        for other in _own.values():  # of the process that this one was forked from
            made.take_known(other)
        _own[os.getpid()] = made
    return made

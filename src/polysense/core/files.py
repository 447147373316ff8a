"""Files that are there whole or not at all: the one writer of everything that polysense leaves on a disk.

A file is written beside its place, brought through to the disk, and renamed over the older one, so whoever reads it,
now or after a crash, finds the old bytes or the new ones. The price is two fsyncs a file (milliseconds on a solid-state
disk); `durable=False` saves them where many small files are written that can be made again.

What a killed process leaves has a name of its own (`.HEX.part`), so that two writers never mix their bytes; the first
write of a later process removes it once it is an hour old, and `sweep` at once, for who has the folder to himself
(`core.lock`). A log that grows line by line is no such file (`core.log_file`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from polysense.core.addresses import address
from polysense.core.unicode_text import mended
from polysense.errors import ConfigError

__all__ = [
    "absolute_path",
    "move_entries",
    "named_path",
    "nameless_file",
    "relative_path",
    "replacing",
    "replacing_folder",
    "require_writable",
    "shown_path",
    "sweep",
    "text_bytes",
    "write_bytes",
    "write_text",
]

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_SPARED = 1 << 30  # bytes of the disk that what is too large for memory leaves free
_ABANDONED_AFTER = 3600.0  # seconds without a byte
_swept: set[Path] = set()


def absolute_path(path: Path | str, folder: Path | None = None) -> str:
    """A path from the root, without `..`; no file is asked, so that one that this system can't name is no error. An
    address of object storage or of the web stays one.

    Args:
        path: `~` is the home folder.
        folder: Where a relative one starts, with its links followed; None for the current folder.
    """
    remote = address(path)
    return remote or os.path.normpath((folder or Path()).absolute() / Path(path).expanduser())


def relative_path(path: Path | str, folder: Path) -> str:
    """A path as it reads from a folder, so that both can be moved together; as it is on another drive.

    Args:
        path: A relative one is left as it is.
        folder: Any.
    """
    path = Path(path)
    if not path.is_absolute():
        return path.as_posix()
    try:
        return Path(os.path.relpath(path, folder.absolute())).as_posix()
    except ValueError:
        return str(path)


def shown_path(path: Path | str) -> Path:
    """A path as a person reads it: from the current folder where it lies within it, else as it is."""
    absolute, here = Path(path).absolute(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else Path(path)


def named_path(path: Path | str, what: str = "output") -> Path:
    """A path that was given; `what` says for what.

    Raises:
        ConfigError: It is empty, and would be the current folder, which nobody meant.
    """
    if isinstance(path, str) and not path.strip():
        raise ConfigError(f"{what}: found an empty path, expected a file's or folder's name; the current folder is .")
    return Path(path)


def require_writable(path: Path) -> None:
    """Makes a file's folder and tries to write there, so that nobody works for hours first.

    Raises:
        OSError: No file can be written there; what is there stays as it is.
    """
    if _is_stream(path):
        return
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(place)
    try:
        part.touch()
    except OSError as error:
        error.filename = str(path)
        raise
    part.unlink()


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes a text as UTF-8, line ends as they are.

    Args:
        path: The file; missing folders above it are made.
        text: All of it.
        durable: Whether it is to outlast a crash of the machine.

    Raises:
        OSError: It can't be written; an older file is as it was.
    """
    write_bytes(path, text_bytes(text), durable=durable)


def text_bytes(text: str) -> bytes:
    """A text as `write_text` writes it: UTF-8 that any reader takes.

    Where it is not all text, it holds a file's name as the system has it, which is put back into its own bytes, or
    half a character, which becomes U+FFFD; so does a name whose bytes are no UTF-8.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    try:
        data = text.encode("utf-8", "surrogateescape")
        data.decode("utf-8")
        return data
    except UnicodeError:
        return mended(text).encode("utf-8")


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Writes bytes; see `write_text`."""
    with replacing(path, durable=durable) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def nameless_file(num_bytes: int) -> Iterator[Path]:
    """A file for what is too large for memory; it loses its name when the block ends, so that nothing is left behind
    however the process ends. What has it mapped or open by then reads on, and its blocks are free with the last of it.

    It lies in the folder that TMPDIR (TEMP, TMP) names, else in /var/tmp, which is on a disk where /tmp may be memory.

    Args:
        num_bytes: That it will have.

    Raises:
        OSError: It can't be made, the disk would be nearly full, or files can't lose their names on this system.
    """
    if os.name != "posix":
        raise OSError(errno.ENOTSUP, "a file that is mapped can't lose its name on this system")
    is_stated = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    on_disk = Path("/var/tmp")
    folder = on_disk if not is_stated and os.access(on_disk, os.W_OK) else Path(tempfile.gettempdir())
    if shutil.disk_usage(folder).free < num_bytes + _SPARED:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    number, name = tempfile.mkstemp(prefix="polysense-", dir=folder)
    os.close(number)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True, older: Path | None = None) -> Iterator[Path]:
    """A path to write to; when the block ends, what is there takes the place of `path`, and if it raises, nothing does.

    A device or a pipe (`/dev/stdout`) is written to directly, and a link's target is what is replaced. The file's
    permissions are those of the older file, or the umask's, whatever a library gave it.

    Args:
        path: The file; missing folders above it are made.
        durable: As in `write_text`.
        older: The name that the older file gets; None removes it. Between the two renames only this one is there.

    Raises:
        OSError: It can't be written; an older file is as it was.
    """
    if _is_stream(path):
        yield path
        return
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(place)
    try:
        part.touch()
        mode = stat.S_IMODE((place if place.is_file() else part).stat().st_mode)
        yield part
        if stat.S_IMODE(part.stat().st_mode) != mode:
            part.chmod(mode)
        if durable:
            _sync(part)
        if older is not None and place.is_file():
            place.replace(older)
        part.replace(place)
        if durable:
            _sync(place.parent)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == str(part):
            error.filename = str(path)  # a message names the file that was asked for
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; when the block ends it takes the place of `folder`, and if it raises, nothing does.

    Linux and macOS swap the two in one step. Where the file system can't (some network folders), an older folder is
    moved away first: a machine that stops between the two renames leaves none, never a mixture of both.

    Args:
        folder: Missing folders above it are made.

    Raises:
        OSError: It can't be written.
    """
    place = folder.resolve()
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    place.parent.mkdir(parents=True, exist_ok=True)
    part, older = _part_of(place), _part_of(place)
    part.mkdir()
    try:
        yield part
        for path in [part, *part.rglob("*")]:
            _sync(path)
        if not place.exists():
            part.rename(place)
        elif not _exchange(part, place):
            place.rename(older)
            part.rename(place)
        _sync(place.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(older, ignore_errors=True)


def move_entries(part: Path, folder: Path, names: Sequence[str]) -> None:
    """Moves files and folders into a folder that holds others, in place of those of their names.

    Args:
        part: Where they are; it is removed.
        folder: Where they go.
        names: All that are replaced; older ones that have no successor are removed. The first is removed first and
            moved last, so that it is there only while all of them belong together.
    """
    for name in names:
        place = folder / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    for name in reversed(names):
        if (part / name).exists():
            (part / name).rename(folder / name)
    part.rmdir()


def sweep(folder: Path) -> None:
    """Removes what killed writers left in a folder and below; for whoever knows that no other process writes there."""
    for path in [path for path in folder.rglob("*") if _PART.fullmatch(path.name)]:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two names in one step; whether kernel and file system could."""
    library = ctypes.CDLL(None, use_errno=True)
    paths = (os.fsencode(one), os.fsencode(other))
    try:
        if sys.platform == "darwin":
            return bool(library.renamex_np(*paths, 2) == 0)  # RENAME_SWAP
        return bool(library.renameat2(-100, paths[0], -100, paths[1], 2) == 0)  # AT_FDCWD twice, RENAME_EXCHANGE
    except AttributeError:  # a C library without it
        return False


def _is_stream(path: Path) -> bool:
    # Behind /dev/stdout may stand a regular file, which the shell has open: replacing it would be in vain.
    return path.parent in (Path("/dev"), Path("/dev/fd")) or (path.exists() and not path.is_file())


def _part_of(place: Path) -> Path:
    """A new name beside a file, short whatever the file's own is."""
    if place.parent not in _swept:
        _swept.add(place.parent)
        for path in place.parent.iterdir():
            if _PART.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return place.with_name(f".{secrets.token_hex(8)}.part")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems keep no order of names, and refuse
            raise
    finally:
        os.close(descriptor)

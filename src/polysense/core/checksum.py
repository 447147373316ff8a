"""SHA-256 of files: how a flipped bit, a file cut short or another model's weights of the same shapes are noticed.

A format with a header notices a file that is too short, never one whose numbers have changed. Hashing reads a file once
more, at 1 to 2 GB/s on a core with SHA instructions; what is read stands in the page cache for who loads it next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from polysense.core.files import text_bytes
from polysense.core.json import json_text, parse_json

__all__ = ["damages", "file_checksum", "folder_checksums", "is_own_checksum", "with_own_checksum"]

_OWN = "own_sha256"


def file_checksum(path: Path) -> str:
    """A file's SHA-256, in hexadecimal.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_checksums(folder: Path) -> dict[str, str]:
    """The checksum of every file in a folder and below, by its path there, in order."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: file_checksum(folder / name) for name in files}


def damages(folder: Path, checksums: Mapping[str, str]) -> Iterator[str]:
    """Says of each file that is not the one whose checksum was taken what is wrong with it.

    Args:
        folder: Where the files lie.
        checksums: By path in the folder, as `folder_checksums` gives them.
    """
    for name, expected in checksums.items():
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
            yield f"{name!r} is listed, which is no path within the folder"
            continue
        try:
            actual = file_checksum(folder / name)
        except OSError as error:
            yield f"{name} can't be read ({error.strerror or error})"
            continue
        if actual != expected:
            yield f"{name} is not the file that was saved (SHA-256 {actual[:12]}..., expected {str(expected)[:12]}...)"


def with_own_checksum(facts: Mapping[str, object]) -> dict[str, object]:
    """What a JSON file is to hold, with the SHA-256 of all of it under `own_sha256`, in place of one that is there."""
    # As it will be read: the name of a file may be spelled otherwise by then, where the system's encoding is another.
    plain = parse_json(text_bytes(json_text(facts)).decode("utf-8"), dict)
    rest = {name: value for name, value in plain.items() if name != _OWN}
    return {_OWN: _json_checksum(rest), **rest}


def is_own_checksum(facts: Mapping[str, object]) -> bool | None:
    """Whether what was read from a JSON file is what was saved; None where no checksum was saved with it."""
    if _OWN not in facts:
        return None
    return facts[_OWN] == _json_checksum({name: value for name, value in facts.items() if name != _OWN})


def _json_checksum(facts: Mapping[str, object]) -> str:
    """Of the values, in an order of their own: spaces, line ends and the order of names are no damage."""
    return hashlib.sha256(text_bytes(json_text(facts, sort_keys=True))).hexdigest()

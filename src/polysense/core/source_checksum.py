"""Checksum of the source that decides what cells become: a version's number stays as it is while code is changed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["decoding_checksum", "source_checksum"]

_ROOT = Path(__file__).parent.parent
_DECODING = ("modalities", "data/media", "data/column.py", "data/cleaning.py")  # what makes the networks' inputs


@functools.cache
def source_checksum() -> str:
    """Of polysense's own networks and preprocessing, in hexadecimal; takes some 20 ms, once in a process."""
    return _checksum(("nn", *_DECODING))


@functools.cache
def decoding_checksum() -> str:
    """Of its preprocessing alone."""
    return _checksum(_DECODING)


def _checksum(parts: Sequence[str]) -> str:
    files = [file for part in parts for file in ((_ROOT / part).rglob("*.py") if "." not in part else [_ROOT / part])]
    hashed = hashlib.blake2b(digest_size=16)
    for file in sorted(files):
        hashed.update(file.relative_to(_ROOT).as_posix().encode())
        hashed.update(file.read_bytes())
    return hashed.hexdigest()

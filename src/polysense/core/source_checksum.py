"""Checksum of the source that decides what cells become: a version's number stays as it is while code is changed."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__all__ = ["source_checksum"]

_ROOT = Path(__file__).parent.parent
_PARTS = ("nn", "modalities", "data/media")  # networks, and what makes their inputs


@functools.cache
def source_checksum() -> str:
    """Of polysense's own networks and preprocessing, in hexadecimal; takes some 20 ms, once in a process."""
    files = [file for part in _PARTS for file in (_ROOT / part).rglob("*.py")]
    hashed = hashlib.blake2b(digest_size=16)
    for file in sorted([*files, _ROOT / "data" / "column.py"]):
        hashed.update(file.relative_to(_ROOT).as_posix().encode())
        hashed.update(file.read_bytes())
    return hashed.hexdigest()

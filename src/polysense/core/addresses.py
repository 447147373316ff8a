"""Addresses of object storage and of the web, told from paths of this machine.

A command line makes a path of what it is given, and a path has no two slashes in a row: `s3://data/a.csv` becomes
`s3:/data/a.csv`. Both are the same address; no folder of this machine is called `s3:` by anybody who means to use it.
"""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["OBJECTS", "WEB", "address", "is_object", "is_web"]

OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory")
"""Protocols of object storage. Those that reach this machine's files, its network or its programs are not among them,
nor those that lead through another (`simplecache::`, `zip://`)."""

WEB = ("http", "https")

_ADDRESS = re.compile(rf"\s*({'|'.join((*OBJECTS, *WEB))}):/{{1,2}}([^/\s].*)", re.IGNORECASE | re.DOTALL)


def address(path: str | PurePath) -> str | None:
    """The address that a path or a text is; None of one that is none.

    The protocol is in small letters, two slashes follow it.
    """
    match = _ADDRESS.fullmatch(path if isinstance(path, str) else path.as_posix())
    return None if match is None else f"{match[1].lower()}://{match[2].rstrip()}"


def is_web(url: str) -> bool:
    """Whether an address is one of the web."""
    return url.partition("://")[0] in WEB


def is_object(text: str) -> bool:
    """Whether a text is the address of an object, with both slashes."""
    scheme, separator, rest = text.strip().partition("://")
    return bool(separator and rest) and scheme.lower() in OBJECTS

"""Fingerprints of columns' preprocessing: equal for two columns that make the same of the same cells.

They are hashes of what was asked for and learned, and of the code; they may tell two apart that are the same (another
version of a library): then something is made once more, and never wrong.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from polysense.core.json import json_text
from polysense.core.packages import packages_of
from polysense.core.source_checksum import decoding_checksum, source_checksum
from polysense.data.column import ColumnProcessor

__all__ = ["decoding_fingerprint", "items_fingerprint"]


def items_fingerprint(column: ColumnProcessor) -> bytes:
    """A hash of all that decides which items a cell becomes."""
    return _hash({**column.facts(), "code": source_checksum()})


def decoding_fingerprint(column: ColumnProcessor) -> bytes:
    """A hash of all that decides what `ColumnProcessor.decoded` gives: config, cleanings, limits, what was learned, the
    code and the versions of the packages that decode. Two samples of a table's rows mostly give the same."""
    versions = {name: importlib.metadata.version(name) for name in column.packages}
    facts = {**column.decoding_facts(), "code": decoding_checksum()}
    return _hash({**facts, "packages": {**versions, **packages_of([column])}})


def _hash(facts: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(json_text(facts, sort_keys=True).encode(), digest_size=16).digest()

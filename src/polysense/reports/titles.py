"""Title pages by their data: what is predicted, from what, of which table. A folder's name says nothing."""

from __future__ import annotations

from polysense.core.schema import Schema
from polysense.core.spelling import enumerated

__all__ = ["described"]

_MAX_COLUMNS = 4


def described(schema: Schema, table: str) -> str:
    """ "label from image, audio and note (data.csv)"."""
    targets, columns = [target.name for target in schema.targets], list(schema.names)
    given = enumerated(columns) if len(columns) <= _MAX_COLUMNS else f"{len(columns)} columns"
    return f"{enumerated(targets)} from {given} ({table})"

"""Title pages by their data: what is predicted, from what, of which table. A folder's name says nothing."""

from __future__ import annotations

from collections.abc import Sequence

from polysense.core.schema import Schema

__all__ = ["described", "listing"]

_MAX_COLUMNS = 4


def described(schema: Schema, table: str) -> str:
    """ "label from image, audio and note (data.csv)"."""
    targets, columns = [target.name for target in schema.targets], list(schema.names)
    given = listing(columns) if len(columns) <= _MAX_COLUMNS else f"{len(columns)} columns"
    return f"{listing(targets)} from {given} ({table})"


def listing(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""

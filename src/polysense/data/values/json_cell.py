"""A cell of a target that may be JSON text, as in a CSV file."""

from __future__ import annotations

from polysense.core.json import parse_json
from polysense.data.media.media import short
from polysense.errors import DecodeError

__all__ = ["from_json"]


def from_json(cell: object, expected: str) -> object:
    """A text that begins as a JSON list or object as what it spells; any other cell as it is.

    Args:
        cell: Any.
        expected: What the cell should hold, for the message.

    Raises:
        DecodeError: It begins so, and is not valid JSON.
    """
    if not isinstance(cell, str) or cell.strip()[:1] not in ("[", "{"):
        return cell
    try:
        return parse_json(cell, object, constants=True)
    except ValueError:
        raise DecodeError(f"found {short(cell)}, which is not valid JSON; expected {expected}") from None

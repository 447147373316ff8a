"""What messages quote: a name that is near a misspelled one, and values in short."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "shortened"]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """For the end of a message: "; did you mean 'label'?" where one of the choices is near."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def shortened(value: object, most: int = 60) -> str:
    """A value's `repr`, cut where it is longer than that many characters."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."

"""What messages quote: a name that is near a misspelled one, values in short, names as a sentence has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["did_you_mean", "enumerated", "shortened"]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """For the end of a message: "; did you mean 'label'?" where one of the choices is near."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def shortened(value: object, most: int = 60) -> str:
    """A value's `repr`, cut where it is longer than that many characters."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def enumerated(names: Sequence[str], most: int | None = None) -> str:
    """ "a, b and c"; of more names than `most` the first, and how many the others are: "a, b, c and 5 more"."""
    if most is not None and len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1:,} more"]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)

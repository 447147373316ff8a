"""What a library's error says, for a message that is one line."""

from __future__ import annotations

__all__ = ["first_line"]


def first_line(error: BaseException, most: int | None = None) -> str:
    """The first line of an error's text; its type where it says nothing.

    Args:
        error: Any.
        most: Characters; None: all.
    """
    lines = str(error).strip().splitlines()
    return lines[0][:most] if lines else type(error).__name__

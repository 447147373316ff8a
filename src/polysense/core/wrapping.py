"""Wrap text at the width of a terminal, 80 columns: between words, and inside one only where it is wider than a line.

Widths are those of a terminal's cells, in which a Chinese character takes two.
"""

from __future__ import annotations

from rich.cells import cell_len

from polysense.escaping import visible

__all__ = ["WIDTH", "shortened", "wrapped"]

WIDTH = 80


def wrapped(text: str, *, indent: str = "", hanging: str | None = None, width: int = WIDTH) -> list[str]:
    """A text as lines that fit; white space between words is one space.

    Args:
        text: Any text; what is invisible in it is shown as its code.
        indent: In front of the first line.
        hanging: In front of the others; None: the same.
        width: Cells of a line.
    """
    following = indent if hanging is None else hanging
    # A width that leaves no room for a letter of two cells would never end.
    width = max(width, cell_len(indent) + 2, cell_len(following) + 2)
    lines: list[str] = []
    line, is_empty = indent, True
    for word in visible(" ".join(text.split())).split(" "):
        piece = word
        if not is_empty and cell_len(line) + 1 + cell_len(piece) > width:
            lines.append(line)
            line, is_empty = following, True
        while cell_len(line) + cell_len(piece) > width and is_empty:
            room = max(1, width - cell_len(line))
            head = _prefix(piece, room)
            lines.append(line + head)
            line, piece = following, piece[len(head) :]
        line, is_empty = (line + piece, is_empty and not piece) if is_empty else (f"{line} {piece}", False)
    return [*lines, line.rstrip()]


def shortened(text: str, width: int) -> str:
    """A name that fits into a column of a table; a cut one ends in an ellipsis."""
    text = visible(text)
    return text if cell_len(text) <= width else _prefix(text, width - 1) + "…"


def _prefix(text: str, width: int) -> str:
    """The longest beginning that fits; one character at least."""
    used = 0
    for i, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            return text[: max(1, i)]
    return text

"""Print tables and sentences as plain text of 80 columns. Imports nothing heavy, for commands that only list."""

from __future__ import annotations

import io

from rich import markup
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from polysense.core.wrapping import WIDTH
from polysense.escaping import visible

__all__ = ["escape", "plain_text", "titled_table"]


def escape(text: str) -> str:
    """A name or a sentence as a part of rich's markup: it is one line, and none of it counts as markup."""
    return markup.escape(visible(text))


def plain_text(*parts: RenderableType, width: int = WIDTH) -> str:
    """Tables and texts (in rich's markup) as lines without color."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False, color_system=None).print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip()


def titled_table(title: str) -> Table:
    """An empty table below a title, which is no markup."""
    return Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)

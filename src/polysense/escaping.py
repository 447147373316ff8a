"""Text from outside made safe to show: what drives a terminal, or makes one name look like another, as its code.

A name, a cell or a label may hold anything: an escape sequence that clears the screen or sets a link, a line break that
forges a message, a mark that turns the direction of writing, a letter of no width. Every message, log, table, bar and
page passes here. The codes are those of JSON, so that a JSON document that passes here has the same data as before.

Errors escape their own text (`errors`), loggers theirs (`core.logs`), texts of several lines are put together by
`joined`, and the commands write through `cli.console`, which escapes once more what anybody forgot.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

__all__ = ["defused", "joined", "preformatted", "visible"]

# Scripts and emoji that join and separate their signs by letters of no width, and would be wrong without.
_JOINED = "\u0600-\u109f\u1780-\u18af\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
# Control characters (C0, DEL, C1), line and paragraph separators, soft hyphens, all marks of direction, letters of no
# width, tags, halves of surrogate pairs.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    f"\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]|(?<![{_JOINED}])[\u200c\u200d]"
)
# What spreadsheets begin a formula with, full-width forms too; one sign alone computes nothing.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?%?|[+-]?(inf|nan)", re.ASCII | re.IGNORECASE)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, keep: str = "") -> str:
    """A text with each invisible character as its code.

    Args:
        text: Any text.
        keep: Characters that stay as they are: line breaks, in a text of several lines.
    """
    return _INVISIBLE.sub(lambda result: result[0] if result[0] in keep else _code(result[0]), text)


def joined(lines: Iterable[str]) -> str:
    """Lines as one text; a line break inside one of them is shown as its code, so that no name makes a line."""
    return "\n".join(map(visible, lines))


def preformatted(text: str) -> str:
    """A text as a notebook shows it."""
    return f"<pre>{html.escape(visible(text, keep=chr(10)))}</pre>"


def defused(text: str) -> str:
    """A text as a cell that no spreadsheet computes: one that it would take for a formula gets an apostrophe in front.

    Numbers stay numbers. A text that begins with apostrophes before such a sign gets one more, so that taking one away
    from every cell that matches gives the texts back.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _code(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))

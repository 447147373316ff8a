"""Make text from outside safe on pages: invisible characters as codes, lines, Markdown.

HTML itself is escaped by jinja2 and by `Markup.format`; this is what they leave.
"""

from __future__ import annotations

import re

from markupsafe import Markup

from polysense import escaping

__all__ = ["lines", "markdown", "markdown_code", "visible"]

# Underscores inside a word, and signs inside a line, are plain.
_MARKDOWN = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w)|^[-+#])")
_PLAIN = re.compile(r"[\w .,:/@%+-]+")


def visible(value: object) -> str:
    """The text of a value with each invisible character as its code; markup is left as it is."""
    return value if isinstance(value, Markup) else escaping.visible(str(value))


def lines(value: str, separator: str = "br") -> Markup:
    """A text whose line breaks are kept.

    Args:
        value: The text.
        separator: "br" (a tag between lines) or "newline" (inside <pre>).
    """
    between = {"br": Markup("<br>"), "newline": Markup("\n")}[separator]
    return between.join(visible(line) for line in value.splitlines())


def markdown(value: object) -> Markup:
    """A text inside Markdown: neither HTML nor Markdown in it counts, and it stays in its table cell."""
    text = _MARKDOWN.sub(r"\\\1", str(visible(value)))
    # Quotes are plain there, and whoever reads the file itself reads them.
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, code)
    return Markup(text)


def markdown_code(value: object) -> Markup:
    """A name as code; one with other than plain characters as text, where escapes work."""
    return Markup(f"`{value}`") if _PLAIN.fullmatch(str(value)) else markdown(value)

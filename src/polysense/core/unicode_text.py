"""Characters that texts from outside hold and nobody means: halves of characters, and spaces of odd widths."""

from __future__ import annotations

__all__ = ["ODD_SPACES", "mended"]

ODD_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""What looks like a space and is none."""


def mended(text: str) -> str:
    """A text that UTF-8 can hold: halves of surrogate pairs, as cut JSON escapes leave them, are joined, and become
    U+FFFD where one stands alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

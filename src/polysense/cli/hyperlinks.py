"""Hyperlinks of a terminal (OSC 8): a path to click where the terminal is known to support it, plain elsewhere.

There is no way to ask a terminal; those that are known set variables of their own. FORCE_HYPERLINK, 1 or 0, decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from polysense.escaping import visible

__all__ = ["linked", "supports_links"]

_PROGRAMS = frozenset({"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio", "WarpTerminal"})
_TERMS = ("xterm-kitty", "alacritty", "foot", "xterm-ghostty", "wezterm", "contour")
_VARIABLES = ("WT_SESSION", "KONSOLE_VERSION", "KITTY_WINDOW_ID", "DOMTERM")
_FIRST_VTE = 5000  # 0.50: of GNOME's terminal and others


def supports_links(is_terminal: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal is known to show hyperlinks; what is no terminal shows none."""
    forced = environment.get("FORCE_HYPERLINK", "")
    if forced:
        return forced != "0"
    if not is_terminal or environment.get("TERM", "dumb") == "dumb" or "CI" in environment:
        return False
    vte = environment.get("VTE_VERSION", "")
    return (
        environment.get("TERM_PROGRAM", "") in _PROGRAMS
        or environment.get("TERM", "").startswith(_TERMS)
        or any(name in environment for name in _VARIABLES)
        or (vte.isdigit() and int(vte) >= _FIRST_VTE)
    )


def linked(text: str, path: Path | str) -> str:
    """A text, safe to show already, in which the last mention of a path leads to its file."""
    name = visible(str(path))
    before, separator, after = text.rpartition(name)
    if not separator:
        return text
    return f"{before}\x1b]8;;{Path(path).absolute().as_uri()}\x1b\\{name}\x1b]8;;\x1b\\{after}"

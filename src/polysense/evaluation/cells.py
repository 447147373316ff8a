"""One cell on a page: pictures, sounds, texts of any length and script, or why there is nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from polysense.evaluation.page import text

__all__ = ["Input", "shown_input_html", "written_text"]

_LONG = 600  # characters: what is longer is folded
_MAX_CHARACTERS = 20_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Input:
    """One input of a row, ready to be shown.

    Attributes:
        column: Its name.
        texts: Texts, numbers, dates.
        pictures: JPEG files.
        sounds: Files and their media types.
        note: What else is to be said: how many frames, how long, or why there is nothing.
        is_absent: Whether the model has nothing of it.
        stretches: Whether its pictures may be drawn in any shape: those of a sound, since seconds and hertz have no
            common scale.
    """

    column: str
    texts: Sequence[str] = ()
    pictures: Sequence[bytes] = ()
    sounds: Sequence[tuple[bytes, str]] = ()
    note: str = ""
    is_absent: bool = False
    stretches: bool = False


def shown_input_html(shown: Input) -> str:
    """Pictures, sounds and texts of one cell."""
    parts = []
    if shown.pictures:
        tags = "".join(f'<img alt="" src="{_uri(file, "image/jpeg")}">' for file in shown.pictures)
        parts.append(f'<div class="strip{" wide" if shown.stretches else ""}">{tags}</div>')
    parts += [f'<audio controls preload="metadata" src="{_uri(file, kind)}"></audio>' for file, kind in shown.sounds]
    texts = [written_text(one) for one in shown.texts]
    parts.append(texts[0] if len(texts) == 1 else "<ol>" + "".join(f"<li>{one}</li>" for one in texts) + "</ol>")
    if not texts:
        parts.pop()
    if shown.note:
        parts.append(f'<p class="small {"absent" if shown.is_absent else "mute"}">{text(shown.note)}</p>')
    return "".join(parts)


def _uri(file: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file).decode('ascii')}"


def written_text(value: str) -> str:
    """A text of any length and script: its own direction of writing, its own lines, folded if it is long."""
    if not value.strip():
        return (
            '<span class="absent small">empty</span>' if not value else '<span class="absent small">only spaces</span>'
        )
    more = f" … and {len(value) - _MAX_CHARACTERS:,} more characters" if len(value) > _MAX_CHARACTERS else ""
    lines = "<br>".join(text(line) for line in value[:_MAX_CHARACTERS].splitlines()) + more
    shown = f'<bdi dir="auto" class="written">{lines}</bdi>'
    if len(value) <= _LONG:
        return shown
    start = " ".join(value[:_MAX_CHARACTERS].split())[: _LONG // 3]
    return f'<details><summary dir="auto">{text(start)} …</summary>{shown}</details>'

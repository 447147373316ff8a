"""A cell as a person sees it who has to judge it: the image, the clip, the text itself, before anything is fitted.

A preview (`core.preview`) shows what a model gets. Who labels a row must see more than that: the whole image, the
recording as it was recorded. Files are read when they are asked for, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["CellDisplay", "DisplayFile", "DisplayMedia"]

Element: TypeAlias = Literal["img", "audio", "video"]  # not a kind


@dataclass(frozen=True, kw_only=True)
class DisplayFile:
    """A file that a browser shows.

    Attributes:
        media_type: Such as "image/jpeg".
        data: The content; None where it is a whole file on this machine.
        path: That file.
    """

    media_type: str
    data: bytes | None = None
    path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DisplayMedia:
    """What a page shows in an element of its own.

    Attributes:
        element: Of HTML.
        read: Makes the file; raises DecodeError where it can't be.
        stretches: Whether it may be drawn in any shape.
        fallback: An image for a browser that does not play the file; None where there is none.
    """

    element: Element
    read: Callable[[], DisplayFile]
    stretches: bool = False
    fallback: Callable[[], DisplayFile] | None = None


@dataclass(frozen=True, kw_only=True)
class CellDisplay:
    """One cell.

    Attributes:
        texts: Whole texts, numbers, dates.
        media: Images and players.
        note: What else is to be said.
    """

    texts: Sequence[str] = ()
    media: Sequence[DisplayMedia] = ()
    note: str = ""

"""A contact sheet: what was asked for and what was found, as one picture."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from polysense.errors import SearchError

__all__ = ["Tile", "contact_sheet"]

_SIDE = 160
_CAPTION = 34
_GAP = 8
_COLUMNS = 5
_FONT_SIZE = 12
# Looked for among the system's fonts; the first that has a text's letters draws it.
_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf",
    "msyh.ttc", "NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf",
)  # fmt: skip
_NO_LETTER = "\U0010ffff"
_INK, _PAPER, _FRAME = (30, 30, 30), (255, 255, 255), (205, 205, 205)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with two lines below.

    Attributes:
        caption: What is written below; what is too long is cut.
        image: A picture's file; where there is none, or it can't be read, `text` stands in its place.
        text: What is shown instead.
    """

    caption: str
    image: Path | None = None
    text: str = ""


def contact_sheet(path: Path, queries: Sequence[Tile], found: Sequence[Tile]) -> None:
    """Draws what was asked for in the first row, and below what was found, best first.

    Args:
        path: .png, .jpg or .webp.
        queries: What was asked for.
        found: What was found.

    Raises:
        SearchError: The file can't be written.
    """
    # Half a second that only those who want a picture should pay.
    from PIL import Image, ImageDraw

    columns = max(1, min(_COLUMNS, max(len(queries), len(found))))
    top = math.ceil(len(queries) / columns)
    rows = top + math.ceil(len(found) / columns)
    width, height = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + 3 * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for first, tiles, offset in ((0, queries, 0), (top, found, 2 * _GAP)):
        for number, tile in enumerate(tiles):
            left = _GAP + number % columns * width
            upper = _GAP + offset + (first + number // columns) * height
            _draw(sheet, draw, tile, left, upper)
    line = top * height + _GAP
    draw.line([(_GAP, line), (sheet.width - _GAP, line)], fill=_INK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise SearchError(f"{path}: can't be written: {error}; use .png, .jpg or .webp") from error


def _draw(sheet: Any, draw: Any, tile: Tile, left: int, upper: int) -> None:
    picture = None if tile.image is None else _thumbnail(tile.image)
    if picture is None:
        draw.font = _font(tile.text)
        draw.rectangle([left, upper, left + _SIDE - 1, upper + _SIDE - 1], outline=_FRAME)
        draw.multiline_text((left + 6, upper + 6), _wrapped(draw, tile.text, _SIDE - 12, 11), fill=_INK)
    else:
        sheet.paste(picture, (left + (_SIDE - picture.width) // 2, upper + (_SIDE - picture.height) // 2))
    draw.font = _font(tile.caption)
    draw.multiline_text((left, upper + _SIDE + 4), _wrapped(draw, tile.caption, _SIDE, 2), fill=_INK)


def _font(text: str) -> Any:
    """The font that lacks the fewest of a text's letters, which become boxes; Pillow's own has ASCII alone."""
    letters = {char for char in text if not char.isspace()}
    return min(_fonts(), key=lambda font: sum(not _has(font, char) for char in letters))


@lru_cache(maxsize=1)
def _fonts() -> tuple[Any, ...]:
    from PIL import ImageFont

    found = []
    for name in _FONTS:
        with contextlib.suppress(OSError):
            found.append(ImageFont.truetype(name, _FONT_SIZE))
    return (*found, ImageFont.load_default())


@lru_cache(maxsize=4096)
def _has(font: Any, char: str) -> bool:
    return bytes(font.getmask(char)) != bytes(font.getmask(_NO_LETTER))


def _thumbnail(path: Path) -> Any:
    """A picture that fits, on white; None where there is none."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (_SIDE, _SIDE))
            whole = ImageOps.contain(opened.convert("RGBA"), (_SIDE, _SIDE))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    paper = Image.new("RGBA", whole.size, (*_PAPER, 255))
    return Image.alpha_composite(paper, whole).convert("RGB")


def _wrapped(draw: Any, text: str, width: int, most: int) -> str:
    """Text in lines of some pixels, cut after the last."""
    lines = [""]
    for char in " ".join(text.split()):
        if draw.textlength(lines[-1] + char) > width:
            if len(lines) == most:
                lines[-1] = lines[-1][:-1] + "…"
                break
            # Between words, but where one word is longer than a line or the script has no spaces.
            whole, space, begun = lines[-1].rpartition(" ")
            if space and char != " ":
                lines[-1] = whole
            lines.append(begun if space and char != " " else "")
        if char != " " or lines[-1]:
            lines[-1] += char
    return "\n".join(lines)

"""A contact sheet: the query and the rows that a search returned, as one image."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont, ImageOps

from polysense.core.files import replacing
from polysense.errors import SearchError

__all__ = ["Tile", "contact_sheet"]

_SIDE = 160
_CAPTION = 34
_GAP = 8
_COLUMNS = 5
_FONT_SIZE = 12
# System fonts in order of preference; the first that has a text's letters draws it.
_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf",
    "msyh.ttc", "NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf",
)  # fmt: skip
_NO_LETTER = "\U0010ffff"
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_INK, _PAPER, _FRAME = (30, 30, 30), (255, 255, 255), (205, 205, 205)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """An image with two lines below.

    Attributes:
        caption: The lines; the rest is cut.
        image: An image's file.
        text: The tile's content where there is no image, or it can't be read.
    """

    caption: str
    image: Path | None = None
    text: str = ""


def contact_sheet(path: Path, queries: Sequence[Tile], results: Sequence[Tile]) -> None:
    """Draws the query in the first row, and the results below, best first.

    Args:
        path: .png, .jpg or .webp.
        queries: The parts of the query.
        results: The rows that were returned.

    Raises:
        SearchError: The file can't be written.
    """
    columns = max(1, min(_COLUMNS, max(len(queries), len(results))))
    top = math.ceil(len(queries) / columns)
    rows = top + math.ceil(len(results) / columns)
    width, height = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + 3 * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for first, tiles, offset in ((0, queries, 0), (top, results, 2 * _GAP)):
        for number, tile in enumerate(tiles):
            left = _GAP + number % columns * width
            upper = _GAP + offset + (first + number // columns) * height
            _draw(sheet, draw, tile, left, upper)
    line = top * height + _GAP
    draw.line([(_GAP, line), (sheet.width - _GAP, line)], fill=_INK)
    try:
        kind = Image.registered_extensions().get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path.suffix or 'a file without an ending'} is no image format")
        with replacing(path) as part:
            sheet.save(part, format=kind)
    except (OSError, ValueError) as error:
        raise SearchError(f"{path}: can't be written: {error}; use .png, .jpg or .webp") from error


def _draw(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, upper: int) -> None:
    thumbnail = None if tile.image is None else _thumbnail(tile.image)
    if thumbnail is None:
        draw.font = _font(tile.text)
        draw.rectangle([left, upper, left + _SIDE - 1, upper + _SIDE - 1], outline=_FRAME)
        draw.multiline_text((left + 6, upper + 6), _wrapped(draw, tile.text, _SIDE - 12, 11), fill=_INK)
    else:
        sheet.paste(thumbnail, (left + (_SIDE - thumbnail.width) // 2, upper + (_SIDE - thumbnail.height) // 2))
    draw.font = _font(tile.caption)
    draw.multiline_text((left, upper + _SIDE + 4), _wrapped(draw, tile.caption, _SIDE, 2), fill=_INK)


def _font(text: str) -> Font:
    """The font that lacks the fewest of a text's letters, which become boxes; Pillow's own has ASCII alone."""
    letters = {char for char in text if not char.isspace()}
    return min(_fonts(), key=lambda font: sum(not _has(font, char) for char in letters))


@lru_cache(maxsize=1)
def _fonts() -> tuple[Font, ...]:
    fonts: list[Font] = []
    for name in _FONTS:
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, _FONT_SIZE))
    return (*fonts, ImageFont.load_default())


@lru_cache(maxsize=4096)
def _has(font: Font, char: str) -> bool:
    return bytes(font.getmask(char)) != bytes(font.getmask(_NO_LETTER))


def _thumbnail(path: Path) -> Image.Image | None:
    """An image that fits, on white; None where there is none."""
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (_SIDE, _SIDE))
            image = ImageOps.contain(opened.convert("RGBA"), (_SIDE, _SIDE))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    paper = Image.new("RGBA", image.size, (*_PAPER, 255))
    return Image.alpha_composite(paper, image).convert("RGB")


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: int, most: int) -> str:
    """Text in lines of some pixels, cut after the last."""
    lines = [""]
    for char in " ".join(text.split()):
        if draw.textlength(lines[-1] + char) > width:
            if len(lines) == most:
                lines[-1] = lines[-1][:-1] + "…"
                break
            # Between words, unless one word is longer than a line or the script has no spaces.
            whole, space, begun = lines[-1].rpartition(" ")
            if space and char != " ":
                lines[-1] = whole
            lines.append(begun if space and char != " " else "")
        if char != " " or lines[-1]:
            lines[-1] += char
    return "\n".join(lines)

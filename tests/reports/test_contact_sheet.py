from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from polysense.errors import SearchError
from polysense.reports.contact_sheet import Tile, _font, _fonts, _has, _wrapped, contact_sheet


def test_a_sheet_shows_pictures_and_texts(tmp_path: Path) -> None:
    Image.new("RGB", (600, 20), (255, 0, 0)).save(tmp_path / "wide.png")
    Image.new("RGBA", (4, 4), (0, 0, 255, 255)).save(tmp_path / "tiny.png")
    (tmp_path / "broken.png").write_bytes(b"no")
    results = [
        Tile(caption="0.9 wide " * 9, image=tmp_path / "wide.png"),
        Tile(caption="0.8 ещё 字", image=tmp_path / "tiny.png"),
        Tile(caption="0.7", image=tmp_path / "broken.png", text="in its place"),
        *[Tile(caption="0.6", text="words " * 200)] * 9,
    ]
    contact_sheet(tmp_path / "deep" / "sheet.png", [Tile(caption="query", text="a red thing")], results)
    with Image.open(tmp_path / "deep" / "sheet.png") as sheet:
        colors = {color for _, color in sheet.getcolors(1 << 20)}  # type: ignore[union-attr, misc]
        assert {(255, 0, 0), (0, 0, 255)} <= colors
        assert sheet.width == 5 * 168 + 8


def test_no_results_are_a_sheet_too(tmp_path: Path) -> None:
    contact_sheet(tmp_path / "sheet.png", [Tile(caption="query")], [])
    assert (tmp_path / "sheet.png").exists()


def test_an_ending_that_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"sheet.txt: can't be written.*use .png"):
        contact_sheet(tmp_path / "sheet.txt", [], [])


def test_lines_break_between_words(tmp_path: Path) -> None:
    class SegmentAligner(ImageDraw.ImageDraw):
        def __init__(self) -> None:
            pass

        def textlength(self, text: Any, *_: Any, **__: Any) -> float:
            return float(len(text))

    assert _wrapped(SegmentAligner(), "a green triangle from 2009", 10, 9) == "a green\ntriangle\nfrom 2009"
    assert _wrapped(SegmentAligner(), "incomprehensibilities", 10, 9) == "incomprehe\nnsibilitie\ns"
    assert _wrapped(SegmentAligner(), "exactly 10 and", 10, 9) == "exactly 10\nand"
    assert _wrapped(SegmentAligner(), "a green triangle", 10, 1) == "a green t…"
    assert _wrapped(SegmentAligner(), "", 10, 2) == ""


def test_letters_beyond_ascii_are_drawn_where_a_font_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, wide = ImageFont.load_default(), ImageFont.load_default()
    monkeypatch.setattr("polysense.reports.contact_sheet._fonts", lambda: (plain, wide))
    monkeypatch.setattr("polysense.reports.contact_sheet._has", lambda font, char: char.isascii() or font is wide)
    assert _font("plain") is plain, "the first, where it has all"
    assert _font("grüner Würfel") is wide
    assert _font("") is plain


def test_pillows_own_font_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.reports.contact_sheet._FONTS", ("no such font.ttf",))
    _fonts.cache_clear()
    try:
        (own,) = _fonts()
        assert _has(own, "a")
        assert not _has(own, "字")
    finally:
        _fonts.cache_clear()

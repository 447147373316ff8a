"""Lines fit, and a word is broken only where it fits on no line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from polysense.core.wrapping import shortened, wrapped
from polysense.escaping import visible


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(5, 40))
def test_lines_fit_and_hold_every_letter(text: str, width: int) -> None:
    lines = wrapped(text, indent="  ", hanging="   ", width=width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(visible(" ".join(text.split())).split())


@given(st.lists(st.text("abcäé漢", min_size=1, max_size=10), min_size=1, max_size=30))
def test_a_word_that_fits_is_whole(words: list[str]) -> None:
    assert [word for line in wrapped(" ".join(words), indent="    ", width=30) for word in line.split()] == words


def test_names_are_cut_at_cells() -> None:
    assert shortened("漢字漢字", 5) == "漢字…"
    assert shortened("four", 4) == "four"
    assert wrapped("") == [""]

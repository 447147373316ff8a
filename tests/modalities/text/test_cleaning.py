"""Cleanings of texts: what each changes, what it leaves alone, and that a second time changes nothing."""

from __future__ import annotations

import importlib.util
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.cleaning import CleaningConfig
from polysense.errors import DependencyError
from polysense.modalities.text.cleaning import (
    ControlCharactersConfig,
    HtmlConfig,
    MojibakeConfig,
    UnicodeFormConfig,
    WhitespaceConfig,
)


@pytest.mark.parametrize(
    ("config", "text", "expected"),
    [
        (UnicodeFormConfig(), "cafe\u0301", "caf\u00e9"),
        (UnicodeFormConfig(form="NFKC"), "\ufb01n \u00b2", "fin 2"),
        (ControlCharactersConfig(), "\ufeffa\x00b\u200bc\u00ad\td\n", "abc\td\n"),
        (ControlCharactersConfig(), "\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        (ControlCharactersConfig(), "\u200b\x00", None),
        (HtmlConfig(), "<p>One&nbsp;&amp; two</p><p>three<br/>four</p>", "One & two\nthree\nfour"),
        (HtmlConfig(), "a<script>alert('x')</script><style>b{}</style>c", "ac"),
        (HtmlConfig(), "3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        (HtmlConfig(), "R&D, a & b", "R&D, a & b"),
        (HtmlConfig(), "<b>un<i>closed", "unclosed"),
        (HtmlConfig(), "<!-- hidden --> seen", "seen"),
        (HtmlConfig(), "<br>", None),
        (WhitespaceConfig(), " a\u00a0\t b\n\nc ", "a b c"),
        (WhitespaceConfig(lines=True), " a  b \r\n\n  c ", "a b\nc"),
    ],
)
def test_what_a_text_becomes(config: CleaningConfig, text: str, expected: str | None) -> None:
    assert config.create().clean(text) == expected


@given(st.text(max_size=60), st.sampled_from([UnicodeFormConfig(), ControlCharactersConfig(), WhitespaceConfig()]))
def test_a_second_time_changes_nothing(text: str, config: CleaningConfig) -> None:
    cleaning = config.create()
    once = cleaning.clean(text)
    assert once is None or cleaning.clean(once) == once


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=200))
def test_hostile_markup_never_fails(text: str) -> None:
    cleaned = HtmlConfig().create().clean(text)
    assert cleaned is None or isinstance(cleaned, str)
    HtmlConfig().create().clean("<p " + text + "</p")


@given(st.text(st.characters(whitelist_categories=["L", "N", "P", "Zs"]), min_size=1, max_size=40))
def test_composed_text_is_left_alone(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert UnicodeFormConfig().create().clean(composed) is composed


def test_mojibake_is_repaired_or_the_package_is_named() -> None:
    if importlib.util.find_spec("ftfy") is None:
        with pytest.raises(DependencyError, match="needs the package ftfy, which is not installed: pip install ftfy"):
            MojibakeConfig().create()
    else:
        assert MojibakeConfig().create().clean("sch\u00c3\u00b6n") == "sch\u00f6n"

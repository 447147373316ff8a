"""What can be seen stays, what can't is shown as its code, and nothing makes a line of its own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import ConfigError, PolysenseError
from polysense.escaping import joined, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\u001b[31mred"),
        ("\x1b]8;;http://a\x07link", "\\u001b]8;;http://a\\u0007link"),
        ("\x9b2J", "\\u009b2J"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("pa\u200by\u2060pal\ufeff", "pa\\u200by\\u2060pal\\ufeff"),
        ("pay\u200dpal", "pay\\u200dpal"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\u0085"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_cannot_be_seen_is_its_code(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "naïve Grüße 日本語 עברית العربية",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a word is joined without joining
        "\u0915\u094d\u200d\u0937",  # Hindi
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\u200d\U0001f525",  # emoji of several
        "[bold]a[/bold] <b> \\n",
    ],
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert visible(text) == text


@given(st.text(st.characters(codec=None), max_size=30), st.text(max_size=30))
def test_whatever_is_shown_once_is_shown_the_same_again(first: str, second: str) -> None:
    shown = joined([first, second])
    assert joined(shown.split("\n")) == shown
    assert shown.count("\n") == 1
    assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2066", "\x7f", "\x00"} & set(shown)


@given(st.dictionaries(st.text(), st.lists(st.text())))
def test_json_that_is_shown_has_the_same_data(data: dict[str, list[str]]) -> None:
    for indent in (None, 1):
        assert json.loads(visible(json.dumps(data, ensure_ascii=False, indent=indent), keep="\n")) == data


def test_an_error_is_as_many_lines_as_it_was_given() -> None:
    name = "a\nerror: forged\x1b[2K"
    assert str(ConfigError(f"column {name}")) == "column a\\nerror: forged\\u001b[2K"
    assert str(ConfigError("two problems:", name)).splitlines() == ["two problems:", "a\\nerror: forged\\u001b[2K"]
    assert str(ConfigError(f"around: {ConfigError(name)}")) == "around: a\\nerror: forged\\u001b[2K"
    assert str(PolysenseError()) == ""

"""A path is a link where the terminal is known to show links, and plain text elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from polysense.cli.hyperlinks import linked, supports_links


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color", "VTE_VERSION": "6800"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4601"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "dumb", "WT_SESSION": "1"}, False),
        ({"TERM": "xterm-256color", "WT_SESSION": "1", "CI": "true"}, False),
        ({"TERM": "xterm", "FORCE_HYPERLINK": "1"}, True),
        ({"TERM": "xterm-kitty", "FORCE_HYPERLINK": "0"}, False),
    ],
)
def test_a_terminal_that_is_known_shows_links(environment: dict[str, str], expected: bool) -> None:
    assert supports_links(True, environment) is expected
    assert not supports_links(False, {**environment, "FORCE_HYPERLINK": ""})


def test_the_last_mention_leads_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = linked("report of a b.html: a b.html\n", Path("a b.html"))
    uri = (tmp_path / "a b.html").as_uri()
    assert text == f"report of a b.html: \x1b]8;;{uri}\x1b\\a b.html\x1b]8;;\x1b\\\n"
    assert linked("nothing", Path("a b.html")) == "nothing"

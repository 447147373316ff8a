"""Read pages as a browser would: tags in order, attributes, text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' & $x$ {{ 7*7 }} \u202egnp.exe\0\x1b[31m"
"""A name that tries everything; 7*7 must not be computed."""

_SCRIPT = Path(str(files("polysense.reports"))) / "templates" / "page.js"
_VOID = {"meta", "br", "img", "hr", "input", "link"}


class Page(HTMLParser):
    """Tags, attributes and text; asserts that tags are closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(self.words)

    @property
    def policy(self) -> str | None:
        """What the page may load."""
        return next(attributes["content"] for _, attributes in self.tags if "http-equiv" in attributes)


def assert_harmless(content: str) -> Page:
    """Nothing in a page that shows `HOSTILE` became markup, runs, or is fetched."""
    page = Page(content)
    names = {tag for tag, _ in page.tags}
    assert not names & {"link", "iframe", "object", "embed"}
    assert_own_script(content)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        source = attributes.get("src")
        assert source is None or source.startswith("data:"), source
        if tag == "img":
            assert set(attributes) <= {"alt", "src", "class"}
    assert not {"\u202e", "\x00", "\x1b"} & set(content)
    assert "url(" not in content
    assert "<script>alert(1)</script>" in page.text, "it is there as text"
    assert "49" not in page.text or "{{ 7*7 }}" in page.text
    assert page.policy is not None
    assert page.policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    return page


def assert_own_script(content: str) -> None:
    """A page has one script, ours, and its policy lets run that one alone."""
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", content, re.DOTALL)
    assert scripts == [_SCRIPT.read_text(encoding="utf-8")]
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode("utf-8")).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in (Page(content).policy or "")

"""Cleanings of texts: Unicode's forms, control characters, HTML, mis-decoded characters, whitespace."""

from __future__ import annotations

import html
import importlib
import re
import unicodedata
from abc import abstractmethod
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import ClassVar, Literal

from polysense.data.cleaning import Cleaning, CleaningConfig
from polysense.errors import DependencyError

__all__ = [
    "ControlCharactersConfig", "HtmlConfig", "MojibakeConfig", "TextCleaningConfig", "UnicodeFormConfig",
    "WhitespaceConfig",
]  # fmt: skip

# Line ends and tabs are whitespace, and joiners shape emoji and the scripts of India.
_KEPT = frozenset("\t\n\r\u200c\u200d")
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figure", "footer", "form",
    "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table",
    "td", "th", "tr", "ul",
})  # fmt: skip
_HIDDEN = frozenset({"script", "style", "template"})
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->|&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]+\d*);", re.DOTALL)
_LINES = re.compile(r"[^\S\n]*\n\s*")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True)
class TextCleaningConfig(CleaningConfig):
    """A cleaning of texts.

    It shifts the characters behind what it changes, so no target may lie in the column.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text", "category"})
    cleans_targets: ClassVar[bool] = True
    moves: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class UnicodeFormConfig(TextCleaningConfig):
    """One Unicode form for every text.

    Attributes:
        form: NFC composes characters, which changes nothing that is seen; NFKC also makes ligatures, full-width and
            superscript characters plain ones.
    """

    type: Literal["unicode_form"] = "unicode_form"
    form: Literal["NFC", "NFKC"] = "NFC"


@dataclass(frozen=True, kw_only=True)
class ControlCharactersConfig(TextCleaningConfig):
    """Removes characters that are not seen, such as zero-width spaces.

    Control characters, byte-order marks, soft hyphens and marks of direction go; line ends, tabs and joiners stay.
    """

    is_proposed: ClassVar[bool] = True
    type: Literal["control_characters"] = "control_characters"


@dataclass(frozen=True, kw_only=True)
class HtmlConfig(TextCleaningConfig):
    """Takes HTML's tags away and resolves entities (`&amp;`).

    Scripts and styles go with what is in them, and a block begins a new line. A text without tags and entities stays as
    it is.
    """

    is_proposed: ClassVar[bool] = True
    type: Literal["html"] = "html"


@dataclass(frozen=True, kw_only=True)
class MojibakeConfig(TextCleaningConfig):
    """Repairs texts that were decoded by the wrong encoding, such as `schÃ¶n` for `schön`, by the package ftfy."""

    is_proposed: ClassVar[bool] = True
    type: Literal["mojibake"] = "mojibake"


@dataclass(frozen=True, kw_only=True)
class WhitespaceConfig(TextCleaningConfig):
    """Makes every run of whitespace one space and removes it at both ends.

    Attributes:
        lines: Whether line ends stay, one in place of several.
    """

    type: Literal["whitespace"] = "whitespace"
    lines: bool = False


class TextCleaning(Cleaning):
    """Changes texts; other values stay as they are."""

    def clean(self, value: object) -> object:
        """See `Cleaning`."""
        if not isinstance(value, str):
            return value
        text = self.clean_text(value)
        return value if text == value else text if text.strip() else None

    @abstractmethod
    def clean_text(self, text: str) -> str:
        """A text as it should have been."""


class UnicodeForm(TextCleaning, config=UnicodeFormConfig):
    """See `UnicodeFormConfig`."""

    def __init__(self, config: UnicodeFormConfig) -> None:
        super().__init__(config)
        self._form = config.form

    def clean_text(self, text: str) -> str:
        """See `TextCleaning`."""
        return text if text.isascii() else unicodedata.normalize(self._form, text)


class ControlCharacters(TextCleaning, config=ControlCharactersConfig):
    """See `ControlCharactersConfig`."""

    def clean_text(self, text: str) -> str:
        """See `TextCleaning`."""
        if text.isprintable():
            return text
        return "".join(c for c in text if c in _KEPT or unicodedata.category(c) not in ("Cc", "Cf"))


class Html(TextCleaning, config=HtmlConfig):
    """See `HtmlConfig`."""

    def clean_text(self, text: str) -> str:
        """See `TextCleaning`."""
        if not _TAG.search(text):
            return text
        parser = _VisibleText()
        parser.feed(text)
        parser.close()
        lines = (" ".join(line.split()) for line in "".join(parser.parts).split("\n"))
        return "\n".join(line for line in lines if line)


class _VisibleText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._hidden += tag in _HIDDEN
        self.parts.append("\n" if tag in _BLOCKS else "")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in _HIDDEN))
        self.parts.append("\n" if tag in _BLOCKS else "")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(html.unescape(data))


class Mojibake(TextCleaning, config=MojibakeConfig):
    """See `MojibakeConfig`."""

    def __init__(self, config: MojibakeConfig) -> None:
        super().__init__(config)
        try:
            self._fix = importlib.import_module("ftfy").fix_encoding
        except ImportError:
            raise DependencyError(
                "the cleaning 'mojibake' needs the package ftfy, which is not installed: pip install ftfy"
            ) from None

    def clean_text(self, text: str) -> str:
        """See `TextCleaning`."""
        return text if text.isascii() else str(self._fix(text))


class Whitespace(TextCleaning, config=WhitespaceConfig):
    """See `WhitespaceConfig`."""

    def __init__(self, config: WhitespaceConfig) -> None:
        super().__init__(config)
        self._lines = config.lines

    def clean_text(self, text: str) -> str:
        """See `TextCleaning`."""
        text = text.strip()
        if not self._lines:
            return _SPACES.sub(" ", text)
        return "\n".join(_SPACES.sub(" ", line) for line in _LINES.split(text.replace("\r\n", "\n")))

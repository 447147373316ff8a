"""American spelling, as in every library that polysense calls, and the terms of the field in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("src", "tests", "docs", "examples", "benchmarks", "scripts")
ENDINGS = (".py", ".md", ".j2", ".yaml", ".toml", ".css", ".js")
BRITISH = re.compile(
    r"colo[u]r|behavio[u]r|favo[u]r|neighbo[u]r|gr[e]y|centr[e]|centr[i]ng|art[e]fact|learn[t]\b|spel[t]\b"
    r"|(?:label|model|cancel|signal|level)l(?:ed|ing)|anal[y]s(?:e\b|ed|ing)|licen[c]e|judg[e]ment"
    r"|(?:normal|standard|recogn|initial|synchron|serial|general|summar|vector|token|optim|factor|synthes|real|minim"
    r"|maxim|visual|quant|regular|discret|local|random|memor|organ)is(?:e|ing|ation)",
    re.IGNORECASE,
)
NAMES = (
    "image_licence",
    "was_cancelled",
    "neighbours.html",
    '"colour", "preposition"',
    "colour=ignored",
    "  colour: ignored",
)
"""Words of others, and what the changelog says of names of before."""


def test_words_are_spelled_the_american_way() -> None:
    files = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.suffix in ENDINGS]
    files += [path for path in ROOT.glob("*.md") if path.is_file()]
    assert len(files) > 300
    british = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        for name in NAMES:
            text = text.replace(name, "")
        for number, line in enumerate(text.splitlines(), 1):
            british += [f"{path.relative_to(ROOT)}:{number}: {word[0]}" for word in BRITISH.finditer(line)]
    assert not british, "\n".join(british)


PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
TEMPLATES = sorted((ROOT / "src").rglob("*.j2"))

# What must not come back, and what a practitioner says instead.
BANNED = {
    r"by heart": "memorized",
    r"votes? fitted|fitted votes|uniform votes": "expert weights",
    r"taken for what|what .{1,40} is taken for": "confusion matrix; column type inference",
    r"gives? the answer away": "target leakage",
    r"shared space|brought into one space": "joint embedding space",
    r"ways? of writing": "decoding strategy",
    r"more is better|less is better": "higher is better, lower is better",
    r"points of accuracy": "Δ accuracy (pp)",
    r"held fixed": "frozen",
    r"goes on from": "is conditioned on a prefix",
    r"varied alike": "augmented consistently",
}


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES], ids=lambda path: path.name)
def test_pages_use_the_terms_of_the_field(path: Path) -> None:
    text = " ".join(path.read_text(encoding="utf-8").split()).lower()
    odd = {phrase: better for phrase, better in BANNED.items() if re.search(phrase, text)}
    assert not odd, f"{path.relative_to(ROOT)}: write {odd}"

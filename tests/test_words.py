"""One spelling throughout: the American, which is also that of every library that polysense calls."""

from __future__ import annotations

import re
from pathlib import Path

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
NAMES = ("image_licence", "neighbours.html")
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

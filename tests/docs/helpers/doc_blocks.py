"""The blocks of a Markdown page: fenced and indented code, and inline code, with the section that each stands in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
_PROGRAMS = ("polysense", "python", "make", "pip", "torchrun")
_SETTING = re.compile(r"^(?:[A-Z_]+=\S+ )+")  # of the environment, in front of a command


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: The page's name.
        line: Its first line in the page, from 1.
        section: The nearest heading above it.
        kind: "shell", "python", "yaml", "json", "toml" or "table".
        text: Without fences and indentation.
    """

    page: str
    line: int
    section: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.section})"


def read_blocks(name: str) -> list[Block]:
    """All blocks of a page, in order."""
    blocks: list[Block] = []
    section, fence, start, language, content = "", False, 0, "", list[str]()

    def close() -> None:
        text = "\n".join(content).strip("\n")
        if text:
            blocks.append(Block(name, start, section, _kind(language, text), text))
        content.clear()

    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate([*lines, ""], start=1):
        if line.lstrip().startswith("```"):
            close()
            if not fence:
                start, language = number + 1, line.strip().removeprefix("```")
            fence = not fence
        elif fence:
            content.append(line)
        elif line.startswith("    ") and (content or number == 1 or not lines[number - 2].strip()):
            if not content:
                start, language = number, ""
            content.append(line[4:])
        else:
            if content and line.strip():
                close()
            elif content:
                content.append("")
            if heading := re.fullmatch(r"#+ (.*)", line):
                section = heading[1]
    assert not fence, f"{name}: a fence is left open"
    close()
    return blocks


def _kind(language: str, text: str) -> str:
    if language:
        return {"sh": "shell", "bash": "shell"}.get(language, language)
    if any(_SETTING.sub("", line).split(" ")[0] in _PROGRAMS for line in text.splitlines()):
        return "shell"
    return "table" if "," in text.splitlines()[0] else "text"


def commands(block: Block) -> Iterator[tuple[int, list[str]]]:
    """Per command its line in the page and its words; what follows a `#` is a comment, `&&` divides two commands."""
    content, first = "", 0
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        first = first if content else number
        content += line.rstrip()
        if content.endswith("\\"):
            content = content[:-1]
            continue
        for part in content.split(" && "):
            words = shlex.split(_SETTING.sub("", part.strip()), comments=True)
            if words:
                yield first, words
        content = ""


def inline(name: str) -> list[tuple[int, str]]:
    """Per piece of inline code outside blocks its line in the page and its text; a piece may go over lines."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    for block in read_blocks(name):
        for number in range(block.line, block.line + len(block.text.splitlines())):
            lines[number - 1] = ""
    text = "\n".join("" if line.startswith("```") else line for line in lines)
    return [(text.count("\n", 0, m.start()) + 1, " ".join(m[1].split())) for m in re.finditer(r"`([^`]+)`", text)]

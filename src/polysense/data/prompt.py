"""Prompts: the prefix that a text is conditioned on; its tokens have no loss.

A prompt is a template with columns' names in braces, `Question: {question}\nAnswer:`. A text column's cell is put in as
text, an empty one as nothing; the name of an input column of images or audio clips marks where its tokens belong, for a
head that can put them there (a prefix into a language model). `{{` and `}}` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from polysense.data.media.media import short
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, DecodeError

__all__ = ["Prompt", "PromptTemplate", "as_text"]

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, eq=False)
class Prompt:
    """A row's prompt.

    Attributes:
        ids: int32 [tokens].
        trained: bool [tokens]: which of them are earlier answers, that are trained on too; None: none.
    """

    ids: np.ndarray
    trained: np.ndarray | None = None


@dataclass(frozen=True)
class PromptTemplate:
    """A parsed template.

    Attributes:
        parts: Texts, and columns in braces, as (text, column), one of them None.
    """

    parts: tuple[tuple[str | None, str | None], ...]

    @staticmethod
    def parse(template: str, target: str) -> PromptTemplate:
        """Reads a target's template.

        Raises:
            ConfigError: A brace stands alone, or holds no name.
        """
        parts: list[tuple[str | None, str | None]] = []
        literal, position = "", 0
        for match in _PART.finditer(template):
            literal += template[position : match.start()]
            position = match.end()
            if match.group() in ("{{", "}}"):
                literal += match.group()[0]
            elif match.group(1):
                parts += [(literal, None), (None, match.group(1))]
                literal = ""
            else:
                raise ConfigError(
                    f"data.targets.{target}.prompt: found {short(match.group())} at character {match.start()}; "
                    "expected {column} with a column's name, or {{ and }} for braces"
                )
        parts.append((literal + template[position:], None))
        return PromptTemplate(tuple(part for part in parts if part[0] != ""))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(column for _, column in self.parts if column is not None))

    @property
    def ends_with_space(self) -> bool:
        """Whether its last character is white space, or unknown."""
        text = self.parts[-1][0] if self.parts else None
        return text is not None and text[-1:].isspace()

    def pieces(
        self, table: Table, i: int, placeholders: Mapping[str, int], tidy: Callable[[str], str]
    ) -> list[str | int]:
        """The prompt of the row at position i as texts, and the ids of the columns whose places are named between them.

        Raises:
            DecodeError: A cell is no text.
        """
        results: list[str | int] = [""]
        for text, column in self.parts:
            if column in placeholders:
                assert column is not None
                results += [placeholders[column], ""]
                continue
            if column is not None:
                cell = table.cell(i, column) if table.has(column) else None
                try:
                    text = "\n".join(tidy(as_text(item)) for item in (cell if isinstance(cell, list) else [cell]))
                except DecodeError as error:
                    raise DecodeError(f"the prompt's column {column!r}: {error}") from None
            assert text is not None
            last = results[-1]
            assert isinstance(last, str)
            results[-1] = last + text
        return [piece for piece in results if piece != ""]


def as_text(cell: object, expected: str = "a text") -> str:
    """A cell as text; nothing is the empty text.

    Raises:
        DecodeError: It is no text.
    """
    if cell is None:
        return ""
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError(f"found bytes that are not UTF-8 text: {short(cell)}") from None
    if isinstance(cell, (bool, int, float)):
        return str(cell)
    if not isinstance(cell, str):
        raise DecodeError(f"found {short(cell)} ({type(cell).__name__}), expected {expected}")
    return cell

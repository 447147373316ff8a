"""A conversation as a target: the assistant's turns are learned, everything else is read.

The last turn of the assistant is the text to be written, what stands before it is its prompt. In training the
assistant's earlier turns, which lie within the prompt, are trained on as well, token by token. At prediction a
conversation that ends with the user is answered, and of one that ends with the assistant that answer is the reference.

`<image>`, `<audio>` and `<video>` in a turn (or parts of that type) say where a column's tokens belong: the n-th one is
the n-th item of the cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.data.prompt import Prompt
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.tasks.generation.conversation import MARKS, Turn, render, turns_of
from polysense.tasks.generation.language_tokenizer import LanguageModelTokenizer
from polysense.tasks.generation.text_target import TextTargetConfig, TextTargetProcessor

__all__ = ["ChatProcessor", "ChatTargetConfig"]

_log = get_logger("polysense.data.targets")

_MARK = re.compile("(" + "|".join(map(re.escape, MARKS.values())) + ")")


@dataclass(frozen=True, kw_only=True)
class ChatTargetConfig(TextTargetConfig):
    """A column of conversations (lists of role and content), of which the assistant's turns are learned.

    Attributes:
        media: The input column for each of the placeholders <image>, <audio> and <video>, as {image: photo}; empty
            takes the only column of that kind. If there is none, the placeholder is dropped.
        max_prompt_tokens: The maximum length of a prompt in tokens. Longer prompts lose their first tokens and are
            counted. Null: no limit. auto is as of max_tokens, and 1024 at least.
    """

    type: Literal["chat"] = "chat"
    media: dict[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in self.media or {}:
            if kind not in MARKS:
                raise ValueError(f"media: found {kind!r}, expected one of {', '.join(MARKS)}")

    def build(self, name: str) -> ChatProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return ChatProcessor(name, self)


class ChatProcessor(TextTargetProcessor):
    """Reads conversations; the value is int32 [tokens] of the assistant's last turn, from begin token to end token."""

    config: ChatTargetConfig
    fewest_prompt_tokens: ClassVar[int] = 1024

    def __init__(self, name: str, config: ChatTargetConfig) -> None:
        super().__init__(name, config)
        self._media: dict[str, str] = {}
        self._warned = False

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        return self.columns

    def _texts(self, cell: object) -> list[str]:
        turns = turns_of(cell)
        return [turns[-1].text] if turns and turns[-1].role == "assistant" and turns[-1].text else []

    def _answers(self, cell: object) -> list[list[int]]:
        # The plain template writes "Assistant: yes"; a template's own ends right before the words.
        tokenizer = self._tokenizer
        space = " " if isinstance(tokenizer, LanguageModelTokenizer) and tokenizer.template is None else ""
        return [tokenizer.encode(space + text) for text in self._texts(cell)]

    def _vocabulary_texts(self, table: Table, cell: object, i: int) -> list[str]:
        return [f"{turn.role.capitalize()}: {turn.text}" for turn in turns_of(cell)]

    def _placeholders(self, table: Table) -> tuple[str, ...] | None:
        results: dict[str, str] = {}
        for kind in MARKS:
            columns = [name for name, of in self._inputs.items() if of == kind]
            named = (self.config.media or {}).get(kind)
            if named is not None and named not in columns:
                raise ConfigError(
                    f"data.targets.{self.name}.media.{kind}: there is no {kind} column {named!r} under "
                    f"data.columns (of this type: {', '.join(columns) or 'none'})"
                )
            if named is None and len(columns) > 1:
                raise ConfigError(
                    f"data.targets.{self.name}.media: {MARKS[kind]} may be any of {', '.join(columns)}; say which, as "
                    f"{{{kind}: {columns[0]}}}"
                )
            if named or columns:
                results[kind] = named or columns[0]
        self._media = results
        return tuple(results.values())

    def _settled(self, tokenizer: LanguageModelTokenizer) -> LanguageModelTokenizer:
        """A chat template says itself what comes first and what ends a turn, which need not be what ends a text."""
        if tokenizer.template is None:
            return tokenizer
        said = "a"
        turns = [Turn("user", said), Turn("assistant", said)]
        first = render(turns[:1], tokenizer.template, tokenizer.named, reply=True)
        begin = tokenizer.named.get("bos_token")
        start_id = tokenizer.tokenizer.token_to_id(begin) if begin and first.startswith(begin) else None
        end = render(turns, tokenizer.template, tokenizer.named, reply=False).removeprefix(first).removeprefix(said)
        ids = tokenizer.encode(end.strip(), control=True)
        return replace(tokenizer, start_id=start_id, end_id=ids[0] if len(ids) == 1 else tokenizer.end_id)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "media": self._media}

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._media = dict(state["media"])

    def _prompt(self, table: Table, i: int, placeholders: Mapping[str, int]) -> Prompt | None:
        column = self.columns[0]
        turns = turns_of(table.cell(i, column, literal=True)) if table.has(column) else []
        if turns and turns[-1].role == "assistant":
            turns = turns[:-1]
        marks = {MARKS[kind]: placeholders[name] for kind, name in self._media.items()}
        ids: list[int] = []
        trained: list[bool] = []
        for text, is_answer in self._spelled(turns) if turns else ():
            for piece in _MARK.split(text):
                if piece in MARKS.values():
                    result = [marks[piece]] if piece in marks else []
                elif isinstance(self._tokenizer, LanguageModelTokenizer):
                    result = self._tokenizer.encode(piece, control=True)
                else:
                    result = self._tokenizer.encode(piece)
                ids += result
                trained += [is_answer and piece not in MARKS.values()] * len(result)
        return Prompt(np.array(ids, dtype=np.int32), np.array(trained, dtype=bool))

    def _spelled(self, turns: Sequence[Turn]) -> list[tuple[str, bool]]:
        """The prompt in pieces, and whether each is an answer, its end included."""
        template, named = None, {}
        if isinstance(self._tokenizer, LanguageModelTokenizer):
            template, named = self._tokenizer.template, dict(self._tokenizer.named)
            turns = [Turn(turn.role, _harmless(turn.text, self._tokenizer)) for turn in turns]
        text = render(turns, template, named, reply=True)
        pieces, position = [], 0
        for i, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            # What is there with the turn and not without it; a template may also show old turns otherwise.
            before = render(turns[:i], template, named, reply=True)
            after = render(turns[: i + 1], template, named, reply=False).rstrip()
            if text.startswith(before) and text.startswith(after):
                pieces += [(text[position : len(before)], False), (text[len(before) : len(after)], True)]
                position = len(after)
            elif not self._warned:
                self._warned = True
                _log.warning(
                    "target %r: the chat template renders earlier turns of the assistant differently from when they "
                    "were generated; such turns are not trained on", self.name,
                )  # fmt: skip
        pieces.append((text[position:], False))
        begin = named.get("bos_token")
        if begin:
            pieces[0] = (pieces[0][0].removeprefix(begin), pieces[0][1])  # the head puts it in front of everything
        return pieces


def _harmless(text: str, tokenizer: LanguageModelTokenizer) -> str:
    """A turn that can't end itself: what spells a control token is broken by a space."""
    control = [token for token in tokenizer.control_tokens if len(token) > 1 and token not in MARKS.values()]
    for token in control:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text

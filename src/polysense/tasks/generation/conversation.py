"""A cell that is a conversation: its turns, and how they are spelled for a language model.

Read are lists of turns as instruction sets have them, `[{"role": "user", "content": "..."}, ...]` or
`[{"from": "human", "value": "..."}, ...]`, also as JSON in a cell of text. A content is a text, or a list of parts of
which some are media: `[{"type": "image"}, {"type": "text", "text": "..."}]`.

Spelled is a conversation by the tokenizer's own chat template where it has one; else plainly, a turn a line:

    System: ...
    User: ...
    Assistant: ...
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polysense.core.json import parse_json
from polysense.data.media.media import short
from polysense.data.prompt import as_text
from polysense.errors import DecodeError
from polysense.tasks.generation.tokenizer import tidy

__all__ = ["MARKS", "Turn", "render", "turns_of"]

MARKS = {"image": "<image>", "audio": "<audio>", "video": "<video>"}
"""How a text says that an image, an audio clip or a video belongs here."""

_ROLES = {
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool",
}  # fmt: skip
_EXPECTED = 'a list of turns, [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'


@dataclass(frozen=True)
class Turn:
    """What one party says.

    Attributes:
        role: "system", "user", "assistant" or "tool".
        text: What is said; media are marks in it, see `MARKS`.
    """

    role: str
    text: str


def turns_of(cell: object) -> list[Turn]:
    """A cell's turns; none if it is empty.

    Raises:
        DecodeError: It is no conversation; says which turn, and what was found.
    """
    if isinstance(cell, (str, bytes)):
        text = as_text(cell).strip()
        if not text:
            return []
        try:
            cell = parse_json(text, object, constants=True)
        except ValueError as error:
            raise DecodeError(f"found {short(text)}, which is no JSON ({error}); expected {_EXPECTED}") from None
    if isinstance(cell, dict):
        # {"messages": [...]} and {"conversations": [...]}, as some sets wrap them
        wrapped = next((cell[name] for name in ("messages", "conversations", "conversation") if cell.get(name)), None)
        cell = [cell] if wrapped is None else wrapped
    if cell is None:
        return []
    if not isinstance(cell, list):
        raise DecodeError(f"found {short(cell)} ({type(cell).__name__}), expected {_EXPECTED}")
    return [_turn(item, number) for number, item in enumerate(cell, start=1) if item is not None]


def _turn(item: object, number: int) -> Turn:
    if isinstance(item, str) and item.lstrip().startswith("{"):
        # As a table has them whose rows differ in kind: each turn is the text of its JSON.
        with contextlib.suppress(ValueError):
            item = parse_json(item, object, constants=True)
    if not isinstance(item, dict):
        raise DecodeError(f"turn {number}: found {short(item)} ({type(item).__name__}), expected {_EXPECTED}")
    said = item.get("role") if item.get("role") is not None else item.get("from")
    content = item.get("content") if item.get("content") is not None else item.get("value")
    if not isinstance(said, str):
        raise DecodeError(f"turn {number}: found the fields {', '.join(map(str, item))}; expected a role (or from)")
    role = _ROLES.get(said.strip().lower())
    if role is None:
        raise DecodeError(f"turn {number}: found the role {short(said)}, expected user, assistant, system or tool")
    try:
        return Turn(role, tidy(_content(content)))
    except DecodeError as error:
        raise DecodeError(f"turn {number} ({role}): {error}") from None


def _content(content: object) -> str:
    if not isinstance(content, list):
        return as_text(content, "a text or a list of parts")
    text = ""
    for part in content:
        if isinstance(part, str):
            text += part
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        kind = kind.removeprefix("input_").removesuffix("_url") if isinstance(kind, str) else ""
        if kind in MARKS:
            # On a line of its own; texts follow each other as they are.
            text = f"{text.rstrip()}\n{MARKS[kind]}\n"
        elif isinstance(part, dict) and kind in ("text", "") and part.get("text") is not None:
            text += as_text(part["text"])
        elif part is not None:
            expected = f'{{"type": "text", "text": "..."}}, or a type among {", ".join(MARKS)}'
            raise DecodeError(f"found the part {short(part)}, expected {expected}")
    return text


def render(turns: Sequence[Turn], template: str | None, named: Mapping[str, str], *, reply: bool) -> str:
    """A conversation as one text.

    Args:
        turns: What was said.
        template: The tokenizer's chat template; None: plainly, a turn a line.
        named: What the template may name, such as eos_token.
        reply: Whether the assistant is to speak next, and the text ends where its words begin.

    Raises:
        DecodeError: The template refuses the conversation, for example because of the order of its roles.
    """
    if template is None:
        lines = [f"{turn.role.capitalize()}: {turn.text}\n" for turn in turns]
        return "".join(lines) + ("Assistant:" if reply else "")
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    messages: list[Any] = [{"role": turn.role, "content": turn.text} for turn in turns]
    options: dict[str, Any] = {**named, "chat_template": template, "add_generation_prompt": reply}
    try:
        result: Any = render_jinja_template([messages], **options)
    except (TemplateError, ValueError, TypeError) as error:
        roles = ", ".join(turn.role for turn in turns) or "no turn"
        raise DecodeError(f"the tokenizer's chat template refuses {roles}: {error}") from None
    return str(result[0][0])

"""A cell as a text to be written: captions, answers, transcripts, translations.

A cell may hold several references, a list of captions: training takes one of them, drawn anew in each epoch, and an
evaluation compares with all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.registry import modality
from polysense.data.media.media import short
from polysense.data.prompt import Prompt, PromptTemplate, as_text
from polysense.data.tables.sources import Table
from polysense.errors import ColumnError, ConfigError
from polysense.tasks.generation.language_tokenizer import LanguageModelTokenizer
from polysense.tasks.generation.record import REJECTED
from polysense.tasks.generation.text_target import TextTargetConfig, TextTargetProcessor
from polysense.tasks.generation.tokenizer import tidy

__all__ = ["GenerationProcessor", "GenerationTargetConfig"]

_log = get_logger("polysense.data.targets")


@dataclass(frozen=True, kw_only=True)
class GenerationTargetConfig(TextTargetConfig):
    """A text to generate; a cell that is a list holds several references.

    Attributes:
        prompt: The prefix that a text is conditioned on: a template with columns' names in braces, as "Question:
            {question}\\nAnswer:". They need not be input columns; a missing cell is replaced by nothing. The name of an
            image or audio column places its tokens in a language model's prompt, instead of in front of it. Null for
            none.
        answers: The closed set of answers: a list of texts, or "training" for those of the training rows; null for any
            text.
        rejected: The table's column of the texts that people liked less than this one, for an objective that learns
            from preferences; a cell that is a list holds several. Null where there are none.
    """

    type: Literal["generation"] = "generation"
    prompt: str | None = None
    answers: Literal["training"] | list[str] | None = None
    rejected: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.answers, list) and not any(map(tidy, self.answers)):
            raise ValueError("answers: expected at least one text, training, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's columns: of the text, and of those that were rejected for it."""
        own = super().sources(name)
        if self.rejected in own:
            raise ConfigError(f"data.targets.{name}.rejected: {self.rejected!r} is the target's own column")
        return own if self.rejected is None else (*own, self.rejected)

    def build(self, name: str) -> GenerationProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return GenerationProcessor(name, self)


class GenerationProcessor(TextTargetProcessor):
    """Reads a text; the value is int32 [tokens], each reference from its begin token to its end token."""

    config: GenerationTargetConfig

    def __init__(self, name: str, config: GenerationTargetConfig) -> None:
        super().__init__(name, config)
        self._template = None if config.prompt is None else PromptTemplate.parse(config.prompt, name)

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        return () if self._template is None else self._template.columns

    def _texts(self, cell: object) -> list[str]:
        results = []
        for item in cell if isinstance(cell, list) else [cell]:
            text = tidy(as_text(item, "a text or a list of texts"))
            if text:
                results.append(text)
        return results

    def _value(self, cells: list[object]) -> np.ndarray | None:
        """As of any text; texts that were rejected follow a mark of their own, which is no token."""
        if cells[0] is None:
            return None
        text, *others = (None if cell is None else super(GenerationProcessor, self)._value([cell]) for cell in cells)
        rejected = next((other for other in others if other is not None), None)
        if text is None or rejected is None:
            return text
        return np.concatenate([text, np.array([REJECTED], dtype=np.int32), rejected])

    def _answers(self, cell: object) -> list[list[int]]:
        # "Answer:" goes on with " yes", which for most language models is another token than "yes".
        template = self._template
        apart = template is not None and not template.ends_with_space
        space = " " if apart and isinstance(self._tokenizer, LanguageModelTokenizer) else ""
        return [self._tokenizer.encode(space + text) for text in self._texts(cell)]

    def _vocabulary_texts(self, table: Table, cell: object, i: int) -> list[str]:
        texts = self._texts(cell)
        if self._template is not None:
            media = dict.fromkeys(self._placeholders(table) or (), 0)
            texts += [piece for piece in self._template.pieces(table, i, media, tidy) if isinstance(piece, str)]
        return texts

    def _listed(self, counts: Counter[str], where: str) -> tuple[tuple[int, ...], ...]:
        answers = self.config.answers
        if answers is None:
            return ()
        texts = list(counts) if answers == "training" else [text for text in map(tidy, answers) if text]
        spelled = {text: tuple(self._answers(text)[0]) for text in texts}
        unknown = self._tokenizer.unknown
        lacking = [text for text, ids in spelled.items() if unknown in ids]
        if lacking:
            named = ", ".join(short(text) for text in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            raise ColumnError(
                f"{where}: {len(lacking)} of {len(spelled)} answers can't be spelled with the tokens that the training "
                f"texts gave: {named}; set data.targets.{self.name}.tokens to subwords or min_frequency to 1, or leave "
                "them out of answers"
            )
        result = tuple(dict.fromkeys((*ids, self._tokenizer.end_id) for ids in spelled.values()))
        listed = {ids[:-1] for ids in result}
        others = [text for text in counts if tuple(self._answers(text)[0]) not in listed]
        _log.info("%s: only the %d listed answers can be generated", where, len(result))
        if others:
            _log.warning(
                "%s: %d of %d training texts are none of the listed answers, first %s; they are trained on, but never "
                "generated", where, sum(counts[text] for text in others), counts.total(), short(others[0]),
            )  # fmt: skip
        return result

    def _placeholders(self, table: Table) -> tuple[str, ...] | None:
        if self._template is None:
            return None
        for column in self._template.columns:
            if column in self.columns:
                raise ConfigError(
                    f"data.targets.{self.name}.prompt: names {column!r}, the target's own column; a prompt that holds "
                    "the answer teaches nothing"
                )
            if not table.has(column):
                raise ColumnError(
                    f"data.targets.{self.name}.prompt: names {{{column}}}, but {table.name} has no such column (it has "
                    f"{', '.join(table.names)}); write {{{{ and }}}} for braces"
                )
        files = {name for name, kind in self._inputs.items() if modality(kind).is_file}
        return tuple(column for column in self._template.columns if column in files)

    def _prompt(self, table: Table, i: int, placeholders: Mapping[str, int]) -> Prompt | None:
        assert self._template is not None
        ids: list[int] = []
        for piece in self._template.pieces(table, i, placeholders, tidy):
            ids += [piece] if isinstance(piece, int) else self._tokenizer.encode(piece)
        return Prompt(np.array(ids, dtype=np.int32))

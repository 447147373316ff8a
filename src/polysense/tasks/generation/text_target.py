"""What all text targets share: a vocabulary, lengths, references, and prompts that a text is conditioned on.

The vocabulary is learned from the training texts (see `tokenizer`), unless the head is a pretrained language model,
which brings its own (see `language_tokenizer`).

An empty cell is a row without target. A text that is longer than `max_tokens` is cut, refused or kept, as the recipe
says, and counted; one that is cut has no end token, so nobody learns to stop there. A prompt that is too long loses its
beginning, for its end is what is answered. By default both limits come from the training rows, as those of input
columns do: a text that is much longer than all others would make its whole batch, and all that is generated, as long.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.schema import Target
from polysense.core.task_spec import TargetReader
from polysense.data.media.media import short
from polysense.data.prompt import Prompt
from polysense.data.tables.sources import Table
from polysense.data.target import ColumnTargetConfig, TargetProcessor
from polysense.data.training_cells import cut_warning, length_limit
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.generation.language_tokenizer import LanguageModelTokenizer
from polysense.tasks.generation.pieces import pieces
from polysense.tasks.generation.record import REJECTED, GenerationRequirements, GenerationTarget
from polysense.tasks.generation.tokenizer import Kind, OutputTokenizer

__all__ = ["TextTargetConfig", "TextTargetProcessor"]

_log = get_logger("polysense.data.targets")

_MAX_TRAINING_TEXTS = 50_000  # about 2 s of training a vocabulary; more changes it hardly
_MAX_TRAINING_PROMPTS = 5_000  # for their lengths alone
_FEWEST_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class TextTargetConfig(ColumnTargetConfig):
    """What targets that are texts have in common.

    Attributes:
        tokens: The units of the generated text: subwords (can spell anything), characters or words (of the training
            texts only). A pretrained language model brings its own tokens.
        vocabulary_size: Tokens at most; auto is, for subwords, one for every 5 words of the training texts, at least
            1000 and at most 8000, for characters 10000 and for words 30000.
        min_frequency: How often the training texts must hold a word or a character, or a pair that is merged into a
            subword, for it to be a token.
        lowercase: Whether to write small letters only.
        max_tokens: The longest text in tokens; null for any. auto is 4 times as many as 95% of the training texts have,
            and 256 at least; of a pretrained language model no more than half of what it takes.
        too_long: Handling of longer texts: "truncate" truncates them, "refuse" is an error for training rows and
            ignores the target of other rows, "keep" keeps them whole. All are counted.
        max_prompt_tokens: The maximum length of a prompt in tokens. Longer prompts lose their first tokens and are
            counted. Null: no limit. auto is as of max_tokens, and 512 at least.
    """

    task: ClassVar[str] = "generation"
    may_be_input: ClassVar[bool] = True
    tokens: Kind = "subwords"
    vocabulary_size: int | Literal["auto"] = "auto"
    min_frequency: PositiveInt = 2
    lowercase: bool = False
    max_tokens: PositiveInt | Literal["auto"] | None = "auto"
    too_long: Literal["truncate", "refuse", "keep"] = "truncate"
    max_prompt_tokens: PositiveInt | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 260 if self.tokens == "subwords" else 5
        if self.vocabulary_size != "auto" and self.vocabulary_size < least:
            raise ValueError(f"vocabulary_size: expected at least {least}, or auto")


class TextTargetProcessor(TargetProcessor):
    """Reads a text; the value is int32 [tokens], each reference from its begin token to its end token.

    Attributes:
        max_tokens: The longest text, as asked for or as the training texts have it; None: any.
        max_prompt_tokens: Likewise the longest prompt.
        num_too_long: References longer than `max_tokens` that were read so far in this process.
        num_prompts_cut: Prompts longer than `max_prompt_tokens`, likewise.
    """

    has_length: ClassVar[bool] = True
    fewest_prompt_tokens: ClassVar[int] = 512  # that are always read

    config: TextTargetConfig
    _tokenizer: OutputTokenizer | LanguageModelTokenizer

    def __init__(self, name: str, config: TextTargetConfig) -> None:
        super().__init__(name, config)
        self.num_too_long = 0
        self.num_prompts_cut = 0
        self.max_tokens = None if config.max_tokens == "auto" else config.max_tokens
        self.max_prompt_tokens = None if config.max_prompt_tokens == "auto" else config.max_prompt_tokens

    @abstractmethod
    def _texts(self, cell: object) -> list[str]:
        """A cell's references without the empty ones; raises DecodeError."""

    @abstractmethod
    def _answers(self, cell: object) -> list[list[int]]:
        """The same as token ids, without begin and end; raises DecodeError."""

    @abstractmethod
    def _vocabulary_texts(self, table: Table, cell: object, i: int) -> list[str]:
        """All that a learned vocabulary should be able to spell of a row; raises DecodeError."""

    def _listed(self, counts: Counter[str], where: str) -> tuple[tuple[int, ...], ...]:
        """The only texts that may be written, as token ids with the end token last; none: any text.

        Args:
            counts: The training texts.
            where: Table and column, for messages.
        """
        del counts, where
        return ()

    @abstractmethod
    def _prompt(self, table: Table, i: int, placeholders: Mapping[str, int]) -> Prompt | None:
        """A row's prompt, of any length; raises DecodeError."""

    @abstractmethod
    def _placeholders(self, table: Table) -> tuple[str, ...] | None:
        """The input columns whose place prompts can name; None where texts go on from no prompt."""

    def _settled(self, tokenizer: LanguageModelTokenizer) -> LanguageModelTokenizer:
        """The tokenizer as this target uses it."""
        return tokenizer

    def decode(self, ids: Iterable[int]) -> str:
        """The text that token ids spell, up to the end token."""
        return self._tokenizer.decode(ids)

    def stream(self, ids: Iterable[Sequence[int]]) -> Iterator[str]:
        return pieces(map(self.decode, ids))

    def reader(self, table: Table) -> TargetReader:
        return _Reader(self, table)

    def sequences(self, value: np.ndarray) -> Sequence[np.ndarray]:
        (texts,) = np.split(value, np.flatnonzero(value == REJECTED))[:1]
        return np.split(texts, np.flatnonzero(texts == self._tokenizer.begin_id)[1:])

    def references(self, table: Table, i: int) -> list[str]:
        """All references of the row at position i, whole; none if it has no target or one that can't be read."""
        column = self.columns[0]
        try:
            return self._texts(table.cell(i, column, literal=True)) if table.has(column) else []
        except DecodeError:
            return []

    def prompt(self, table: Table, i: int) -> Prompt | None:
        target = GenerationTarget.of(self.target)
        if not target.typical_prompt:
            return None
        ids = {name: target.first_placeholder + k for k, name in enumerate(target.placeholders)}
        prompt, limit = self._prompt(table, i, ids), self.max_prompt_tokens
        if prompt is None or limit is None or len(prompt.ids) <= limit:
            return prompt
        self.num_prompts_cut += 1
        if self.num_prompts_cut == 1:
            _log.warning(
                "%s: a prompt of %d tokens, more than max_prompt_tokens=%d: its beginning is cut; further ones are "
                "counted only", table.source(i, self.columns[0]), len(prompt.ids), limit,
            )  # fmt: skip
        return Prompt(prompt.ids[-limit:], None if prompt.trained is None else prompt.trained[-limit:])

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        column = self.columns[0]
        where = f"{table.name}, target column {column!r}"
        texts: list[str] = []
        rows: list[int] = []
        first = None
        for i, cell in enumerate(cells[0]):
            try:
                result = self._texts(cell)
            except DecodeError as error:
                first = first or f"{table.source(i, column)}: {error}"
                continue
            texts += result
            rows += [i] * len(result)
        if not texts:
            raise ColumnError(f"{where}: no training row has a text; {'first ' + first if first else 'give some'}")
        counts = Counter(texts)
        if len(counts) == 1:
            raise ColumnError(
                f"{where}: all {len(texts)} training texts are {short(texts[0])}; there is nothing to learn"
            )
        placeholders = self._placeholders(table)
        self._tokenizer = self._open_tokenizer(table, cells[0], rows)
        lengths = np.array([len(answer) for i in dict.fromkeys(rows) for answer in self._answers(cells[0][i])])
        if self.config.max_tokens == "auto":
            self.max_tokens = self._limit(lengths, _FEWEST_TOKENS)
        self.warnings = self._report(table, where, rows, lengths)
        typical_prompt = 0 if placeholders is None else self._fit_prompts(table, placeholders)
        if self.max_tokens is not None and self.config.too_long == "truncate":
            lengths = np.minimum(lengths, self.max_tokens)
        return GenerationTarget(
            name=self.name,
            columns=self.columns[:1],
            num_rows=len(set(rows)),
            vocabulary_size=self._tokenizer.vocabulary_size + len(placeholders or ()),
            padding_id=self._tokenizer.padding_id,
            begin_id=self._tokenizer.begin_id,
            end_id=self._tokenizer.end_id,
            start_id=self._tokenizer.start_id,
            typical_prompt=typical_prompt,
            placeholders=placeholders or (),
            typical_length=int(np.ceil(np.quantile(lengths, 0.95))) + 1,
            max_length=int(lengths.max()) + 1,
            most_frequent=min(counts, key=lambda text: (-counts[text], text)),
            answers=self._listed(counts, where),
        )

    def _open_tokenizer(
        self, table: Table, cells: Sequence[object], rows: Sequence[int]
    ) -> OutputTokenizer | LanguageModelTokenizer:
        config = self.config
        required = GenerationRequirements.of(self._required)
        if required.tokenizer is not None:
            return self._settled(LanguageModelTokenizer.open(required, self.name, lowercase=config.lowercase))
        texts: list[str] = []
        for i in dict.fromkeys(rows):
            texts += self._vocabulary_texts(table, cells[i], i)
        chosen = np.sort(permutation(len(texts), "vocabulary")[:_MAX_TRAINING_TEXTS])
        return OutputTokenizer.train(
            [texts[i] for i in chosen],
            config.tokens,
            size=None if config.vocabulary_size == "auto" else config.vocabulary_size,
            min_frequency=config.min_frequency,
            lowercase=config.lowercase,
        )

    def _limit(self, lengths: np.ndarray, least: int) -> int:
        """The most tokens of a text or a prompt, by those of the training rows; a language model has room for both."""
        limit = length_limit(lengths.tolist(), least)
        room = GenerationRequirements.of(self._required).max_tokens
        return limit if room is None else min(limit, max(least, room // 2))

    def _fit_prompts(self, table: Table, placeholders: Sequence[str]) -> int:
        """Learns how long prompts are; how many tokens 95% of them have at most."""
        # The ids don't matter for a length.
        ids = dict.fromkeys(placeholders, 0)
        lengths: list[int] = []
        for i in np.sort(permutation(len(table), "prompts")[:_MAX_TRAINING_PROMPTS]).tolist():
            try:
                prompt = self._prompt(table, i, ids)
            except DecodeError:
                continue
            if prompt is not None:
                lengths.append(len(prompt.ids))
        if self.config.max_prompt_tokens == "auto":
            self.max_prompt_tokens = self._limit(np.array(lengths), self.fewest_prompt_tokens)
        limit = self.max_prompt_tokens
        cut = cut_warning(lengths, limit, "max_prompt_tokens", "tokens", is_sample=len(table) > _MAX_TRAINING_PROMPTS)
        self.warnings = (*self.warnings, *(f"of the prompts {text}" for text in cut))
        typical = int(np.ceil(np.quantile(lengths, 0.95))) if lengths else 1
        return max(1, typical if limit is None else min(typical, limit))

    def _report(self, table: Table, where: str, rows: list[int], lengths: np.ndarray) -> tuple[str, ...]:
        """Tells of the training texts; what is to be said of those that are too long."""
        limit, too_long = self.max_tokens, self.config.too_long
        num_missing = len(table) - len(set(rows))
        _log.info(
            "%s: %d texts in %d rows, %d tokens to write them with, %.1f a text%s",
            where, len(lengths), len(set(rows)), self._tokenizer.vocabulary_size, lengths.mean(),
            f"; {num_missing} rows have none and are counted out" if num_missing else "",
        )  # fmt: skip
        if limit is None or not (lengths > limit).any():
            return ()
        position = int(np.argmax(lengths > limit))
        num = int((lengths > limit).sum())
        what = (
            f"{num:,} of {len(lengths):,} texts {'is' if num == 1 else 'are'} longer than max_tokens={limit}, first "
            f"{table.source(rows[position], self.columns[0])} with {lengths[position]:,} tokens"
        )
        if too_long == "refuse":
            raise ColumnError(
                f"{where}: {what}; raise max_tokens, leave the rows out, or set too_long to truncate or keep"
            )
        if too_long == "keep":
            return (f"{what}; kept whole",)
        lost = max(float((lengths - limit).clip(min=0).sum() / lengths.sum()), 0.0001)
        return (f"{what}, the longest {lengths.max():,}; cut, and with it {lost:.2%} of all tokens",)

    def _value(self, cells: list[object]) -> np.ndarray | None:
        ids: list[int] = []
        limit, too_long = self.max_tokens, self.config.too_long
        for result in self._answers(cells[0]):
            end = [self._tokenizer.end_id]
            if limit is not None and len(result) > limit:
                self.num_too_long += 1
                if too_long == "refuse":
                    raise DecodeError(f"found a text of {len(result)} tokens, expected at most max_tokens={limit}")
                if too_long == "truncate":
                    result, end = result[:limit], []
            ids += [self._tokenizer.begin_id, *result, *end]
        return np.array(ids, dtype=np.int32) if ids else None

    def render(self, value: Any) -> str:
        """Token ids as the text that they spell."""
        return self.decode(np.asarray(value).tolist())

    def _state(self) -> dict[str, Any]:
        return {"max_tokens": self.max_tokens, "max_prompt_tokens": self.max_prompt_tokens}

    def _restore(self, state: Mapping[str, Any]) -> None:
        # A bundle of before has what was asked for alone.
        self.max_tokens = state.get("max_tokens", self.max_tokens)
        self.max_prompt_tokens = state.get("max_prompt_tokens", self.max_prompt_tokens)

    def _write(self, folder: Path) -> None:
        self._tokenizer.save(folder)

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:
        if LanguageModelTokenizer.is_in(folder):
            self._tokenizer = LanguageModelTokenizer.load(folder, lowercase=self.config.lowercase)
        else:
            self._tokenizer = OutputTokenizer.load(folder, self.config.tokens, lowercase=self.config.lowercase)


class _Reader:
    """A text target beside a table."""

    def __init__(self, target: TextTargetProcessor, table: Table) -> None:
        self._target, self._table = target, table

    def spell(self, value: np.ndarray) -> str:
        """Token ids as the text that they spell."""
        return self._target.decode(value.tolist())

    def references(self, row: int) -> list[str]:
        """All references of a row; none if it has no target or one that can't be read."""
        return self._target.references(self._table, row)

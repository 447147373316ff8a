"""A cell as a text to be written: captions, answers, transcripts, translations.

A vocabulary is learnt from the training texts (see `tokenizer`). A cell may hold several references, a list of
captions: training takes one of them, drawn anew in each epoch, and an evaluation compares with all.

An empty cell is a row without target. A text that is longer than `max_tokens` is cut, refused or kept, as the recipe
says, and counted; one that is cut has no end token, so nobody learns to stop there.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polysense.core.modality import Task
from polysense.core.random import permutation
from polysense.core.schema import Target
from polysense.data.decode.media import short
from polysense.data.sources import Table
from polysense.data.targets.base import TargetConfig, TargetProcessor
from polysense.data.targets.tokenizer import BEGIN, END, PADDING, Kind, OutputTokenizer, tidy
from polysense.errors import ColumnError, DecodeError

__all__ = ["GenerationTarget", "GenerationTargetConfig"]

_log = logging.getLogger("polysense.data.targets")

_MAX_TRAINING_TEXTS = 50_000  # about 2 s of training a vocabulary; more changes it hardly


@dataclass(frozen=True, kw_only=True)
class GenerationTargetConfig(TargetConfig):
    """A text to be written; a cell that is a list holds several references.

    Attributes:
        column: The table's column; null if it is named as the target.
        tokens: What the model writes one after another: subwords (can spell anything), characters or words (of the
            training texts only).
        vocabulary_size: Tokens at most; auto is, for subwords, one for every 5 words of the training texts, at least
            1000 and at most 8000, for characters 10000 and for words 30000.
        min_frequency: How often the training texts must hold a word or a character, or a pair that is merged into a
            subword, for it to be a token.
        lowercase: Whether to write small letters only.
        max_tokens: The longest text in tokens; null for any.
        too_long: What is done about a longer one: "truncate" cuts it, "refuse" stops with an error where it is a
            training row and leaves the row without target elsewhere, "keep" keeps it whole. All are counted.
    """

    type: Literal["generation"] = "generation"
    column: str | None = None
    tokens: Kind = "subwords"
    vocabulary_size: int | Literal["auto"] = "auto"
    min_frequency: int = 2
    lowercase: bool = False
    max_tokens: int | None = 256
    too_long: Literal["truncate", "refuse", "keep"] = "truncate"

    def __post_init__(self) -> None:
        least = 260 if self.tokens == "subwords" else 5
        if self.vocabulary_size != "auto" and self.vocabulary_size < least:
            raise ValueError(f"vocabulary_size: expected at least {least}, or auto")
        if self.min_frequency < 1:
            raise ValueError("min_frequency: expected at least 1")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError("max_tokens: expected at least 1, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)

    def build(self, name: str) -> GenerationTarget:
        """The preprocessing of the target of that name, not yet fitted."""
        return GenerationTarget(name, self)


class GenerationTarget(TargetProcessor):
    """Reads a text; the value is int32 [tokens], each reference from its begin token to its end token.

    Attributes:
        num_too_long: References longer than `max_tokens` that were read so far in this process.
    """

    config: GenerationTargetConfig
    _tokenizer: OutputTokenizer

    def __init__(self, name: str, config: GenerationTargetConfig) -> None:
        super().__init__(name, config)
        self.num_too_long = 0

    def decode(self, ids: Iterable[int]) -> str:
        """The text that token ids spell, up to the end token."""
        return self._tokenizer.decode(ids)

    def references(self, table: Table, i: int) -> list[str]:
        """All references of the row at position i, whole; none if it has no target or one that can't be read."""
        column = self.columns[0]
        try:
            return _texts(table.cell(i, column, literal=True)) if table.has(column) else []
        except DecodeError:
            return []

    def _fit(self, table: Table, cells: list[list[object]]) -> Target:
        column = self.columns[0]
        where = f"{table.name}, target column {column!r}"
        texts: list[str] = []
        rows: list[int] = []
        first = None
        for i, cell in enumerate(cells[0]):
            try:
                found = _texts(cell)
            except DecodeError as error:
                first = first or f"{table.source(i, column)}: {error}"
                continue
            texts += found
            rows += [i] * len(found)
        if not texts:
            raise ColumnError(f"{where}: no training row has a text; {'first ' + first if first else 'give some'}")
        counts = Counter(texts)
        if len(counts) == 1:
            raise ColumnError(
                f"{where}: all {len(texts)} training texts are {short(texts[0])}; there is nothing to learn"
            )
        chosen = np.sort(permutation(len(texts), "vocabulary")[:_MAX_TRAINING_TEXTS])
        config = self.config
        self._tokenizer = OutputTokenizer.train(
            [texts[i] for i in chosen],
            config.tokens,
            size=None if config.vocabulary_size == "auto" else config.vocabulary_size,
            min_frequency=config.min_frequency,
            lowercase=config.lowercase,
        )
        lengths = np.array([len(self._tokenizer.encode(text)) for text in texts])
        self._report(table, where, rows, lengths)
        if config.max_tokens is not None and config.too_long == "truncate":
            lengths = np.minimum(lengths, config.max_tokens)
        return Target(
            name=self.name,
            task=Task.GENERATION,
            columns=self.columns,
            num_rows=len(set(rows)),
            vocabulary_size=self._tokenizer.vocabulary_size,
            padding_id=PADDING,
            begin_id=BEGIN,
            end_id=END,
            typical_length=int(np.ceil(np.quantile(lengths, 0.95))) + 1,
            max_length=int(lengths.max()) + 1,
            most_frequent=min(counts, key=lambda text: (-counts[text], text)),
        )

    def _report(self, table: Table, where: str, rows: list[int], lengths: np.ndarray) -> None:
        config = self.config
        without = len(table) - len(set(rows))
        _log.info(
            "%s: %d texts in %d rows, %d tokens to write them with, %.1f a text%s",
            where, len(lengths), len(set(rows)), self._tokenizer.vocabulary_size, lengths.mean(),
            f"; {without} rows have none and are counted out" if without else "",
        )  # fmt: skip
        if config.max_tokens is None or not (lengths > config.max_tokens).any():
            return
        position = int(np.argmax(lengths > config.max_tokens))
        num = int((lengths > config.max_tokens).sum())
        what = (
            f"{num} of {len(lengths)} texts are longer than max_tokens={config.max_tokens}, first "
            f"{table.source(rows[position], self.columns[0])} with {lengths[position]} tokens"
        )
        if config.too_long == "refuse":
            raise ColumnError(
                f"{where}: {what}; raise max_tokens, leave the rows out, or set too_long to truncate or keep"
            )
        _log.warning("%s: %s; they are %s", where, what, "cut" if config.too_long == "truncate" else "kept whole")

    def _value(self, cells: list[object]) -> np.ndarray | None:
        ids: list[int] = []
        limit, too_long = self.config.max_tokens, self.config.too_long
        for text in _texts(cells[0]):
            found = self._tokenizer.encode(text)
            end = [END]
            if limit is not None and len(found) > limit:
                self.num_too_long += 1
                if too_long == "refuse":
                    raise DecodeError(f"found a text of {len(found)} tokens, expected at most max_tokens={limit}")
                if too_long == "truncate":
                    found, end = found[:limit], []
            ids += [BEGIN, *found, *end]
        return np.array(ids, dtype=np.int32) if ids else None

    def render(self, value: Any) -> str:
        """Token ids as the text that they spell."""
        return self.decode(np.asarray(value).tolist())

    def _write(self, folder: Path) -> None:
        self._tokenizer.save(folder)

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:
        self._tokenizer = OutputTokenizer.load(folder, self.config.tokens, lowercase=self.config.lowercase)


def _texts(cell: object) -> list[str]:
    """A cell's references without the empty ones.

    Raises:
        DecodeError: It is no text.
    """
    found = []
    for item in cell if isinstance(cell, list) else [cell]:
        if item is None:
            continue
        if isinstance(item, bytes):
            try:
                item = item.decode("utf-8")
            except UnicodeDecodeError:
                raise DecodeError(f"found bytes that are not UTF-8 text: {short(item)}") from None
        elif isinstance(item, (bool, int, float)):
            item = str(item)
        elif not isinstance(item, str):
            raise DecodeError(f"found {short(item)} ({type(item).__name__}), expected a text or a list of texts")
        text = tidy(item)
        if text:
            found.append(text)
    return found

"""Texts as token ids, by a byte-pair encoding learnt from the training texts, or a tokenizer that is given.

Byte-level BPE (Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units", ACL 2016;
on bytes as in GPT-2) can write every script and never meets an unknown character. Its vocabulary grows with the data:
a token needs to be seen a few times before its embedding means anything.

Tokenizing happens row by row in one thread; the tokenizers library's own threads would be of no use, and it warns in
each forked worker process once they have run. They are switched off unless the environment says otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from polysense.core.modality import Modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column, Requirements
from polysense.data.columns.base import NUM_SAMPLED, ColumnConfig, ColumnProcessor, TrainingCells
from polysense.data.decode.media import short
from polysense.errors import ColumnError, DecodeError, WeightsError

__all__ = ["TextColumnConfig", "TextProcessor"]

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_log = logging.getLogger("polysense.data.columns")

_FILE = "tokenizer.json"
_PADDING = "<pad>"
_MAX_VOCABULARY = 8_000
_MIN_VOCABULARY = 1_000
_WORDS_PER_TOKEN = 5
_MAX_TRAINING_TEXTS = 50_000  # about 2 s of training; more changes the merges hardly


@dataclass(frozen=True, kw_only=True)
class TextColumnConfig(ColumnConfig):
    """Texts in any language.

    Attributes:
        tokenizer: A tokenizer.json, or a folder or hub name of a pretrained tokenizer; null to learn one from the
            training texts.
        vocabulary_size: Tokens of the learnt tokenizer at most; auto is one token for every 5 words of the training
            texts, at least 1000 and at most 8000.
        lowercase: Whether the learnt tokenizer takes capitals for small letters.
        max_tokens: Longer texts are cut to this many tokens, and the cuts are counted; null cuts nothing (unless a
            pretrained encoder can take only so many).
    """

    type: Literal["text"] = "text"
    tokenizer: str | None = None
    vocabulary_size: int | Literal["auto"] = "auto"
    lowercase: bool = False
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.vocabulary_size != "auto" and self.vocabulary_size < 257:
            raise ValueError("vocabulary_size: expected at least 257 (256 bytes and the padding), or auto")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError("max_tokens: expected at least 1, or null")

    def build(self, name: str) -> TextProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return TextProcessor(name, self)


class TextProcessor(ColumnProcessor):
    """Tokenizes texts; each item is int32 [tokens]. Numbers and booleans are taken for their usual spelling.

    Attributes:
        max_tokens: Where texts are cut; None: nowhere.
        num_truncated: Texts cut so far (in this process; those cut while fitting are not counted).
    """

    config: TextColumnConfig
    _modality = Modality.TEXT

    def __init__(self, name: str, config: TextColumnConfig) -> None:
        super().__init__(name, config)
        self.max_tokens: int | None = config.max_tokens
        self.num_truncated = 0
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer in use."""
        assert self._tokenizer is not None, f"column {self.name!r} is not fitted"
        return self._tokenizer

    def _fit(self, guess: Column, cells: TrainingCells, root: Path, requirements: Requirements) -> Column:
        asked, required = self.config.tokenizer, requirements.tokenizer
        if asked is not None and required is not None and asked != required:
            raise ColumnError(
                f"column {self.name!r}: tokenizer is {asked!r} in the recipe, but its pretrained encoder needs "
                f"{required!r}; set tokenizer: null, or choose another encoder"
            )
        limits = [limit for limit in (self.config.max_tokens, requirements.max_tokens) if limit is not None]
        self.max_tokens = min(limits) if limits else None
        name = asked or required
        if name is not None:
            tokenizer, padding_id = _load(name, self.name)
        else:
            texts = cells.read(self.name, "texts", lambda cell, _: self._text(cell), _MAX_TRAINING_TEXTS)
            tokenizer, padding_id = _train([text for text in texts if text], self.config), 0
        self._use(tokenizer)
        lengths = cells.read(
            self.name, "texts", lambda cell, source: len(self._encode(self._text(cell), source)), NUM_SAMPLED
        )
        self.num_truncated = 0
        vocabulary = tokenizer.get_vocab(with_added_tokens=True).values()
        return guess.replace(
            typical_length=max(1, int(np.ceil(np.quantile(lengths, 0.95)))),
            vocabulary_size=max(vocabulary) + 1,  # some published vocabularies have holes
            padding_id=padding_id,
        )

    def _use(self, tokenizer: Tokenizer) -> None:
        """Sets a tokenizer up: no padding, cut only where asked, and no control tokens spelled out by a text."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if self.max_tokens is not None:
            self._check_room(tokenizer, self.max_tokens)
            tokenizer.enable_truncation(self.max_tokens)
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    def _check_room(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if max_tokens <= special:
            raise ColumnError(
                f"column {self.name!r}: max_tokens is {max_tokens}, but the tokenizer adds {special} special tokens to "
                f"each text; expected at least {special + 1}"
            )

    def _text(self, value: Any) -> str:
        if isinstance(value, bytes):
            try:
                value = value.decode("utf-8")
            except UnicodeDecodeError:
                raise DecodeError(f"found bytes that are not UTF-8 text: {short(value)}") from None
        elif isinstance(value, (bool, int, float)):
            value = str(value)
        elif not isinstance(value, str):
            raise DecodeError(f"found {short(value)} ({type(value).__name__}), expected a text")
        text: str = value
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:  # surrogates, as cut JSON escapes leave them: pairs are joined, single ones replaced
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return unicodedata.normalize("NFC", text)

    def _encode(self, text: str, source: SourceInfo) -> list[int]:
        if not text.strip():
            return []
        encoding = self.tokenizer.encode(text)
        if encoding.overflowing:
            self.num_truncated += 1
            if self.num_truncated == 1:
                _log.warning("%s: cut to max_tokens=%d; further cuts are counted only", source, self.max_tokens)
        return encoding.ids

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        ids = self._encode(self._text(value), source)
        return np.array(ids, dtype=np.int32) if ids else None

    def _state(self, folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.no_truncation()
        (folder / _FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        return {"max_tokens": self.max_tokens}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.max_tokens = state["max_tokens"]
        self._use(_from_text((folder / _FILE).read_text(encoding="utf-8"), folder / _FILE))


def _train(texts: list[str], config: TextColumnConfig) -> Tokenizer:
    if config.vocabulary_size == "auto":
        words = sum(len(text.split()) for text in texts)
        size = min(_MAX_VOCABULARY, max(_MIN_VOCABULARY, words // _WORDS_PER_TOKEN))
    else:
        size = config.vocabulary_size
    tokenizer = Tokenizer(models.BPE())
    if config.lowercase:
        from tokenizers.normalizers import Lowercase

        tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # a word is the same at a text's start
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[_PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        # A text without spaces (Chinese, Japanese, base64) is one "word": without a limit it becomes one token.
        max_token_length=24,
    )

    def batches() -> Iterator[list[str]]:
        for start in range(0, len(texts), 1000):
            yield texts[start : start + 1000]

    tokenizer.train_from_iterator(batches(), trainer)
    return tokenizer


def _from_text(text: str, path: Path) -> Tokenizer:
    # tokenizers raises a bare Exception (its own Rust errors have no class), so its first fields are looked at before.
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ColumnError(f"{path}: is not a tokenizer.json: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ColumnError(f"{path}: is not a tokenizer.json: it has no 'model'")
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 (see above)
        raise ColumnError(f"{path}: is not a tokenizer.json that the installed tokenizers reads: {error}") from None


def _load(name: str, column: str) -> tuple[Tokenizer, int]:
    """A tokenizer by file, folder or hub name, and its padding id."""
    path = Path(name).expanduser()
    if path.is_file():
        tokenizer = _from_text(_read(path), path)
        return tokenizer, _padding_id(tokenizer, path.parent)
    if path.is_dir():
        if (path / _FILE).is_file():
            tokenizer = _from_text(_read(path / _FILE), path / _FILE)
            return tokenizer, _padding_id(tokenizer, path)
    elif path.suffix == ".json" or path.is_absolute() or name.startswith((".", "~")):
        raise ColumnError(f"column {column!r}: no such tokenizer file or folder: {path}")
    return _load_with_transformers(name, column)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ColumnError(f"{path}: can't be read: {error}") from None


def _padding_id(tokenizer: Tokenizer, folder: Path) -> int:
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    names = []
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / file).is_file():
            try:
                token = json.loads(_read(folder / file)).get("pad_token")
            except (ValueError, AttributeError) as error:
                raise ColumnError(f"{folder / file}: is not the JSON of a tokenizer: {error}") from None
            names.append(token.get("content") if isinstance(token, dict) else token)
    for name in (*names, _PADDING, "[PAD]"):
        found = tokenizer.token_to_id(name) if isinstance(name, str) else None
        if found is not None:
            return found
    return 0  # never read: the padding lies beyond an item's length


def _load_with_transformers(name: str, column: str) -> tuple[Tokenizer, int]:
    from transformers import AutoTokenizer

    try:
        wrapper = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"column {column!r}: the tokenizer {name!r} can't be had: {reason}. Give the path of a local folder that "
            "holds tokenizer.json, or set HF_HOME to a cache that holds it"
        ) from None
    tokenizer = getattr(wrapper, "backend_tokenizer", None)
    if tokenizer is None:
        raise ColumnError(
            f"column {column!r}: the tokenizer {name!r} has no fast form ({type(wrapper).__name__}); expected one that "
            "can be saved as tokenizer.json"
        )
    return tokenizer, wrapper.pad_token_id if wrapper.pad_token_id is not None else 0

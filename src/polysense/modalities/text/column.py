"""Texts as token ids: subwords or words learned from the training texts, or a tokenizer that is given.

Subwords: byte-level BPE (Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units", ACL
2016; on bytes as in GPT-2) can write every script and never meets an unknown character. Its vocabulary grows with the
data: a token needs to be seen a few times before its embedding means anything.

Words: one id for each word of the training texts that is frequent enough, and one for all others ("unknown"). They are
what a bag of words counts and what published word vectors are for; the price is the unknown. Texts are brought to
NFKC (full-width letters, ligatures and Arabic presentation forms become the plain ones), invisible direction marks are
dropped, and words end where Unicode's word boundaries lie (UAX #29): an apostrophe inside a word, a decimal point
inside a number and the joiners of Persian and Hindi stay in it; every other punctuation mark, symbol or emoji is a
token of its own, and a full stop never joins words. Scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer,
Burmese) give one token per character with its marks: finding their words takes a dictionary.

Tokenizing happens row by row in one thread; the tokenizers library's own threads would be of no use, and it warns in
each forked worker process once they have run. They are switched off unless the environment says otherwise.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from polysense.config.limits import PositiveInt
from polysense.core.files import write_text
from polysense.core.json import parse_json
from polysense.core.logs import get_logger
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import NUM_SAMPLED, ColumnConfig, ColumnProcessor, TrainingCells, length_limit
from polysense.data.pretrained_tokenizer import encode_text, fast_tokenizer
from polysense.data.training_cells import cut_warning
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.text.reading import read_text
from polysense.modalities.text.record import TextColumn, TextRequirements

__all__ = ["TextColumnConfig", "TextProcessor", "join_words"]

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_log = get_logger("polysense.data.columns")

_FILE = "tokenizer.json"
_PADDING = "<pad>"
_UNKNOWN = "<unk>"
_MASKS = ("[MASK]", "<mask>", _UNKNOWN, "[UNK]")  # what can stand for a hidden token, the best one first
_MAX_VOCABULARY = 8_000
_MIN_VOCABULARY = 1_000
_MAX_WORDS = 30_000
_WORDS_PER_TOKEN = 5
_MAX_TRAINING_TEXTS = 50_000  # about 2 s of training; more changes the merges hardly

_FEWEST_TOKENS = 256
_FEWEST_CHARACTERS, _MOST_CHARACTERS = 100_000, 200  # that are looked at for a text that is cut; per token
_MOST_LONG = 5_000  # texts whose tokens are counted to say how many are cut: about a second
_MOST_NORMALIZED, _MOST_ADDED = 18, 8  # characters that normalization makes of one; tokens that begin and end a text
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[\p{{L}}\p{{N}}\p{{M}}_\u200c\u200d&&[^{_SPACELESS}]]"
_WORD = (
    rf"[{_SPACELESS}]\p{{M}}*"
    rf"|{_LETTER}+(?:(?<=[\p{{L}}\p{{M}}])'(?=\p{{L}}){_LETTER}+"  # don't, l'eau
    rf"|(?<=\p{{Nd}})[.,](?=\p{{Nd}}){_LETTER}+"  # 3.14
    rf'|(?<=\p{{Hebrew}})["\u05f4](?=\p{{Hebrew}}){_LETTER}+)*'  # Hebrew abbreviations
    r"|(?![\s\p{Cc}\p{Cf}])\X"  # a punctuation mark, a symbol, a whole emoji sequence
)
_INVISIBLE = "[\u00ad\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"  # soft hyphen, direction marks, joiners


@dataclass(frozen=True, kw_only=True)
class TextColumnConfig(ColumnConfig):
    """Texts in any language.

    Attributes:
        tokenizer: A tokenizer.json, or a folder or hub name of a pretrained tokenizer; null to learn one from the
            training texts.
        tokens: The trained tokenizer's units, subwords or words; auto is the unit that the column's encoder requires,
            else subwords.
        vocabulary_size: Tokens of the learned tokenizer at most; auto is, for subwords, one token for every 5 words of
            the training texts, at least 1000 and at most 8000, and for words 30000.
        min_frequency: How often the training texts must hold a word (or a pair that is merged into a subword) for it
            to get an id of its own.
        lowercase: Whether the learned tokenizer takes capitals for small letters; auto does for words, and not for
            subwords.
        words: Whether a cell that is a list holds the words of one text, with a space between them, as tables with a
            label for each word do; else it holds several texts.
        max_tokens: Longer texts are cut to this many tokens, and the cuts are counted. auto is 4 times as many as 95%
            of the training texts have, and 256 at least, so that one long text can't slow a whole batch down; null cuts
            nothing. A pretrained encoder may take fewer.
    """

    modality: ClassVar[str] = "text"
    type: Literal["text"] = "text"
    tokenizer: str | None = None
    tokens: Literal["auto", "subwords", "words"] = "auto"
    vocabulary_size: int | Literal["auto"] = "auto"
    min_frequency: PositiveInt = 2
    lowercase: bool | Literal["auto"] = "auto"
    words: bool = False
    max_tokens: PositiveInt | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        least, why = (3, "the padding, the unknown, a word") if self.tokens == "words" else (257, "256 bytes, padding")
        if self.vocabulary_size != "auto" and self.vocabulary_size < least:
            raise ValueError(f"vocabulary_size: expected at least {least} ({why}), or auto")
        if self.tokens == "words" and self.tokenizer is not None:
            raise ValueError("tokens: expected auto or subwords, since a tokenizer is given; or set tokenizer: null")

    def build(self, name: str) -> TextProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return TextProcessor(name, self)


class TextProcessor(ColumnProcessor):
    """Tokenizes texts; each item is int32 [tokens]. Numbers and booleans are taken for their usual spelling.

    Attributes:
        max_tokens: Where texts are cut; None: nowhere.
    """

    config: TextColumnConfig

    def __init__(self, name: str, config: TextColumnConfig) -> None:
        super().__init__(name, config)
        self.max_tokens: int | None = None
        self._encoders_limit: int | None = None
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer in use."""
        assert self._tokenizer is not None, f"column {self.name!r} is not fitted"
        return self._tokenizer

    @property
    def unknown_id(self) -> int | None:
        """The token id of words without one of their own; None where there are none, as with subwords."""
        return self.tokenizer.token_to_id(_UNKNOWN)

    @property
    def joins_lists(self) -> bool:
        """Whether a cell that is a list is one text."""
        return self.config.words

    @property
    def column(self) -> TextColumn:
        """See `ColumnProcessor`."""
        return TextColumn.of(super().column)

    def _joined(self, cell: list[Any]) -> str:
        return " ".join(join_words(cell))

    def located(self, text: object) -> tuple[str, list[tuple[int, int]]]:
        """A text as it is tokenized (characters composed), and where in it each token lies, the end not included.

        Raises:
            DecodeError: It is no text.
        """
        read = read_text(text)
        return read, encode_text(self.tokenizer, read).offsets if read.strip() else []

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> TextColumn:
        requirements = TextRequirements.of(requirements)
        requested, required = self.config.tokenizer, requirements.tokenizer
        if requested is not None and required is not None and requested != required:
            raise ColumnError(
                f"column {self.name!r}: tokenizer is {requested!r} in the recipe, but its pretrained encoder needs "
                f"{required!r}; set tokenizer: null, or choose another encoder"
            )
        if self.config.tokens == "words" and required is not None:
            raise ColumnError(
                f"column {self.name!r}: tokens is 'words' in the recipe, but its pretrained encoder needs the "
                f"tokenizer {required!r}; set tokens: auto, or choose another encoder"
            )
        stated = self.config.max_tokens
        limits = [limit for limit in (stated, requirements.max_tokens) if isinstance(limit, int)]
        self.max_tokens, self._encoders_limit = min(limits, default=None), requirements.max_tokens
        name = requested or required
        learns_words = name is None and (
            self.config.tokens == "words" or (self.config.tokens == "auto" and requirements.tokenization == "words")
        )
        if name is not None:
            tokenizer, padding_id = _load(name, self.name)
        else:
            texts = cells.read(self.name, "texts", lambda cell, _: read_text(cell), _MAX_TRAINING_TEXTS)
            train = _train_words if learns_words else _train_subwords
            tokenizer, padding_id = train([text for text in texts if text], self.config), 0
        self._use(tokenizer)
        self._cuts = []
        encoded = cells.read(self.name, "texts", self._ids, NUM_SAMPLED)
        auto = length_limit([len(ids) for ids in encoded], _FEWEST_TOKENS) if stated == "auto" else None
        if self.max_tokens is not None:
            self.warnings = self._counted_cuts(cells, len(encoded))
        if auto is not None:
            if self.max_tokens is None:
                self.warnings = self._cut_warning(cells, auto, [len(ids) for ids in encoded])
            if self.max_tokens is None or auto < self.max_tokens:
                self.max_tokens = auto
                self._use(tokenizer)
                encoded = [ids[:auto] for ids in encoded]
        if learns_words:
            self._report_unknown(encoded)
        tokens = {position: token for token, position in tokenizer.get_vocab(with_added_tokens=True).items()}
        size = max(tokens) + 1  # some published vocabularies have holes
        fitted = TextColumn(
            name=self.name,
            typical_length=max(1, int(np.ceil(np.quantile([len(ids) for ids in encoded], 0.95)))),
            vocabulary_size=size,
            padding_id=padding_id,
            mask_id=next((i for i in map(tokenizer.token_to_id, _MASKS) if i is not None), padding_id),
            max_length=requirements.max_tokens,
        )
        if requirements.vocabulary:
            fitted = dataclasses.replace(fitted, vocabulary=tuple(tokens.get(i, "") for i in range(size)))
        if requirements.token_frequencies:
            counts, num_documents = self._count_documents(cells, size)
            frequencies = tuple((counts / max(num_documents, 1)).tolist())
            fitted = dataclasses.replace(fitted, document_frequencies=frequencies, num_documents=num_documents)
        return fitted

    def _cut_warning(self, cells: TrainingCells, limit: int, lengths: list[int]) -> tuple[str, ...]:
        """Of all training texts, where no more than some thousands can be over the limit; else of those of the sample,
        whose lengths are given. Texts are not cut yet."""
        long, num = _long_texts(cells, limit)
        if long is None:
            return cut_warning(lengths, limit, "max_tokens", "tokens", is_sample=len(cells.present) > NUM_SAMPLED)
        measured = [len(encode_text(self.tokenizer, text).ids) for text in long]
        return cut_warning(measured, limit, "max_tokens", "tokens", num_short=num - len(long))

    def _counted_cuts(self, cells: TrainingCells, num_sampled: int) -> tuple[str, ...]:
        """Likewise where texts are cut already, and how long they are is not looked at."""
        assert self.max_tokens is not None
        long, num = _long_texts(cells, self.max_tokens)
        if long is None:
            cuts, items = len(self._cuts), f"{num_sampled:,} training items that were looked at"
        else:
            cuts = sum(bool(encode_text(self.tokenizer, text).overflowing) for text in long)
            items = f"{num:,} training items"
        if not cuts:
            return ()
        return (f"{cuts:,} of the {items} {'is' if cuts == 1 else 'are'} cut to {self.max_tokens} tokens",)

    def _ids(self, cell: Any, source: SourceInfo) -> list[int]:
        return self._encode(read_text(cell), source)

    def _count_documents(self, cells: TrainingCells, size: int) -> tuple[np.ndarray, int]:
        """In how many training texts each id [vocabulary] occurs, and the number of texts that hold any."""
        counts = np.zeros(size, dtype=np.int64)

        def count(cell: Any, source: SourceInfo) -> bool:
            distinct = np.unique(np.array(self._ids(cell, source), dtype=np.int64))
            counts[distinct] += 1
            return len(distinct) > 0

        return counts, sum(cells.read(self.name, "texts", count, _MAX_TRAINING_TEXTS))

    def _report_unknown(self, encoded: list[list[int]]) -> None:
        unknown = self.tokenizer.token_to_id(_UNKNOWN)
        assert unknown is not None
        share = sum(ids.count(unknown) for ids in encoded) / max(sum(len(ids) for ids in encoded), 1)
        _log.log(
            logging.WARNING if share > 0.5 else logging.INFO,
            "column %r: %d words have an id of their own; %.1f%% of the words in the training texts have none and are "
            "the same unknown word (min_frequency=%d)",
            self.name,
            self.tokenizer.get_vocab_size() - 2,
            100 * share,
            self.config.min_frequency,
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

    def _encode(self, text: str, source: SourceInfo) -> list[int]:
        if not text.strip():
            return []
        if self.max_tokens is not None:  # beyond, no token is read; a text of a megabyte would take a second
            text = text[: max(_FEWEST_CHARACTERS, _MOST_CHARACTERS * self.max_tokens)]
        encoding = encode_text(self.tokenizer, text)
        if encoding.overflowing:
            limit, is_auto = f"max_tokens={self.max_tokens}", self.config.max_tokens == "auto"
            if self.max_tokens == self._encoders_limit:
                limit, is_auto = f"{limit}, the most that its pretrained encoder takes", False
            self._cut(limit, is_auto)
        return encoding.ids

    def _item(self, value: Any, source: SourceInfo, root: Path) -> np.ndarray | None:
        ids = self._ids(value, source)
        return np.array(ids, dtype=np.int32) if ids else None

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        # Without the padding, which may be an id that the tokenizer spells.
        ids = [token for token in value.tolist() if token != self.column.padding_id]
        text = self.tokenizer.decode(ids, skip_special_tokens=True).strip()
        if not text:
            return None
        return text.split() if self.config.words else text

    def shift(self, items: Sequence[np.ndarray]) -> str | None:
        unknown_id = self.unknown_id
        share = 0.0 if unknown_id is None else float(np.mean(np.concatenate(list(items)) == unknown_id))
        if share <= 0.5:
            return None
        return f"{share:.0%} of its words have no id in the vocabulary that comes with its encoder"

    def _state(self, folder: Path) -> dict[str, Any]:
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.no_truncation()
        write_text(folder / _FILE, tokenizer.to_str(pretty=True))
        return {"max_tokens": self.max_tokens}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.max_tokens, self._encoders_limit = state["max_tokens"], self.column.max_length
        self._use(_from_text((folder / _FILE).read_text(encoding="utf-8"), folder / _FILE))


def _long_texts(cells: TrainingCells, limit: int) -> tuple[list[str] | None, int]:
    """The training texts that may have more tokens than a limit, None where they are many, and how many texts there
    are. A token stands for a character at least, once the text is normalized."""
    long, num = list[str](), 0
    for value in cells.values():
        try:
            text = read_text(value)
        except DecodeError:
            continue  # listed when its row is read
        if not text.strip():
            continue
        num += 1
        if len(text) * (1 if text.isascii() else _MOST_NORMALIZED) + _MOST_ADDED > limit:
            long.append(text)
            if len(long) > _MOST_LONG:
                return None, num
    return long, num


def join_words(words: list[Any]) -> list[str]:
    """The words of a text that is given as a list of them; one that is missing is empty, and keeps its place."""
    return ["" if word is None else str(word) for word in words]


def _train_words(texts: list[str], config: TextColumnConfig) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
    steps = [normalizers.NFKC(), normalizers.Replace("\u2019", "'"), normalizers.Replace(Regex(_INVISIBLE), "")]
    if config.lowercase:  # True or "auto"
        steps.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=_MAX_WORDS if config.vocabulary_size == "auto" else config.vocabulary_size,
        min_frequency=config.min_frequency,
        special_tokens=[_PADDING, _UNKNOWN],  # no text spells them: its angle brackets are tokens of their own
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _train_subwords(texts: list[str], config: TextColumnConfig) -> Tokenizer:
    if config.vocabulary_size == "auto":
        words = sum(len(text.split()) for text in texts)
        size = min(_MAX_VOCABULARY, max(_MIN_VOCABULARY, words // _WORDS_PER_TOKEN))
    else:
        size = config.vocabulary_size
    tokenizer = Tokenizer(models.BPE())
    if config.lowercase is True:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # a word is the same at a text's start
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=config.min_frequency,
        special_tokens=[_PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        # A text without spaces (Chinese, Japanese, base64) is one "word": without a limit it becomes one token.
        max_token_length=24,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _from_text(text: str, path: Path) -> Tokenizer:
    # tokenizers raises a bare Exception (its own Rust errors have no class), so its first fields are looked at before.
    try:
        content = parse_json(text, dict, constants=True)
    except ValueError as error:
        raise ColumnError(f"{path}: is not a tokenizer.json: {error}") from None
    if not isinstance(content.get("model"), dict):
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
                token = parse_json(_read(folder / file), dict, constants=True).get("pad_token")
            except ValueError as error:
                raise ColumnError(f"{folder / file}: is not the JSON of a tokenizer: {error}") from None
            names.append(token.get("content") if isinstance(token, dict) else token)
    for name in (*names, _PADDING, "[PAD]"):
        result = tokenizer.token_to_id(name) if isinstance(name, str) else None
        if result is not None:
            return result
    return 0  # never read: the padding lies beyond an item's length


def _load_with_transformers(name: str, column: str) -> tuple[Tokenizer, int]:
    tokenizer, wrapper = fast_tokenizer(name, f"column {column!r}: the tokenizer {name!r}")
    return tokenizer, wrapper.pad_token_id if wrapper.pad_token_id is not None else 0

"""Texts that a model writes, as token ids and back.

Subwords (byte-level BPE: Sennrich, Haddow, Birch, ACL 2016; on bytes as in GPT-2) can write every script and every
character, those that no training text holds too, and what is decoded is what was encoded, space for space. Characters
and words have shorter vocabularies or shorter texts, and can only write what the training texts hold: everything else
is one unknown token. Words are what whitespace separates, since a decoder must know where to put the spaces.

The special tokens' names hold spaces: no token of a text does, so no text can spell one.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from polysense.core.files import write_text
from polysense.core.json import parse_json
from polysense.core.unicode_text import mended
from polysense.data.pretrained_tokenizer import encode_text
from polysense.errors import BundleError

__all__ = ["BEGIN", "END", "PADDING", "Kind", "OutputTokenizer", "read_tokenizer", "tidy"]

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PADDING, BEGIN, END = 0, 1, 2
"""The ids of the special tokens."""

Kind: TypeAlias = Literal["subwords", "words", "characters"]

_SPECIAL = ["<no token>", "<begin of text>", "<end of text>"]
_UNKNOWN = "<unknown token>"
_UNKNOWN_SIGN = "\N{REPLACEMENT CHARACTER}"
_FILE = "tokenizer.json"
_LARGEST = {"subwords": 8_000, "words": 30_000, "characters": 10_000}
_MIN_SUBWORDS = 1_000
_WORDS_PER_SUBWORD = 5


def tidy(text: str) -> str:
    """A text in Unicode's composed form, without whitespace around it; lone surrogates are replaced."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", mended(text))
    return text.strip()


@dataclass(frozen=True, eq=False)
class OutputTokenizer:
    """Encodes and decodes.

    Attributes:
        tokenizer: The learned vocabulary.
        kind: What a token is.
        lowercase: Whether capitals are taken for small letters.
    """

    tokenizer: Tokenizer
    kind: Kind
    lowercase: bool

    @staticmethod
    def train(
        texts: Sequence[str], kind: Kind, *, size: int | None, min_frequency: int, lowercase: bool
    ) -> OutputTokenizer:
        """Learns a vocabulary.

        Args:
            texts: The training texts.
            kind: What a token is.
            size: Tokens at most; None: subwords one for every 5 words, at least 1000 and at most 8000; 10000 characters
                or 30000 words.
            min_frequency: How often the texts must hold a word or a character, or a pair that becomes a subword.
            lowercase: Whether to take capitals for small letters.
        """
        if size is None:
            size = _LARGEST[kind]
            if kind == "subwords":
                words = sum(len(text.split()) for text in texts)
                size = min(size, max(_MIN_SUBWORDS, words // _WORDS_PER_SUBWORD))
        trainer: trainers.Trainer
        if kind == "subwords":
            tokenizer = Tokenizer(models.BPE())
            # A word is the same at a text's start as within it.
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
            tokenizer.decoder = decoders.ByteLevel()
            trainer = trainers.BpeTrainer(
                vocab_size=size,
                min_frequency=min_frequency,
                special_tokens=_SPECIAL,
                initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                show_progress=False,
                # A text without spaces (Chinese, Japanese) is one "word": without a limit it becomes one token.
                max_token_length=24,
            )
        else:
            tokenizer = Tokenizer(models.WordLevel(unk_token=_UNKNOWN))
            tokenizer.pre_tokenizer = (
                pre_tokenizers.WhitespaceSplit()
                if kind == "words"
                else pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            )
            trainer = trainers.WordLevelTrainer(
                vocab_size=size,
                min_frequency=min_frequency,
                special_tokens=[*_SPECIAL, _UNKNOWN],
                show_progress=False,
            )
        result = OutputTokenizer(tokenizer, kind, lowercase)
        tokenizer.train_from_iterator(map(result._spelled, texts), trainer)
        tokenizer.encode_special_tokens = True
        return result

    @property
    def padding_id(self) -> int:
        """What fills the padding."""
        return PADDING

    @property
    def begin_id(self) -> int:
        """What every text begins with."""
        return BEGIN

    @property
    def end_id(self) -> int:
        """What ends a text."""
        return END

    @property
    def start_id(self) -> None:
        """What a text needs before anything else: nothing."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids run over [0, vocabulary_size)."""
        size: int = self.tokenizer.get_vocab_size()
        return size

    @property
    def unknown(self) -> int | None:
        """The id of what the vocabulary lacks; None where it lacks nothing."""
        result: int | None = self.tokenizer.token_to_id(_UNKNOWN)
        return result

    def encode(self, text: str) -> list[int]:
        """A text's token ids, without begin and end."""
        ids: list[int] = encode_text(self.tokenizer, self._spelled(text), add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids spell, up to the end token; an unknown token is U+FFFD."""
        retained = []
        for token in ids:
            if token == END:
                break
            if token not in (PADDING, BEGIN):
                retained.append(int(token))
        if self.kind == "subwords":
            text: str = self.tokenizer.decode(retained, skip_special_tokens=False)
            return text.removeprefix(" ")
        unknown = self.unknown
        pieces = [_UNKNOWN_SIGN if t == unknown else self.tokenizer.id_to_token(t) or "" for t in retained]
        return (" " if self.kind == "words" else "").join(pieces)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json."""
        write_text(folder / _FILE, self.tokenizer.to_str(pretty=True))

    @staticmethod
    def load(folder: Path, kind: Kind, *, lowercase: bool) -> OutputTokenizer:
        """Reads what `save` wrote.

        Raises:
            BundleError: The file is missing or broken.
        """
        tokenizer = read_tokenizer(folder / _FILE)
        tokenizer.encode_special_tokens = True
        return OutputTokenizer(tokenizer, kind, lowercase)

    def _spelled(self, text: str) -> str:
        text = tidy(text)
        if self.kind == "words":
            text = " ".join(text.split())
        return text.lower() if self.lowercase else text


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json; BundleError where it is missing or broken."""
    try:
        text = path.read_text(encoding="utf-8")
        if not isinstance(parse_json(text, dict, constants=True).get("model"), dict):
            raise BundleError(f"{path}: is not a tokenizer.json: it has no 'model'")
        return Tokenizer.from_str(text)
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001 (tokenizers raises a bare Exception for broken content)
        raise BundleError(f"{path}: can't be read: {error}") from None

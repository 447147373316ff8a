"""Published word vectors: GloVe, word2vec or fastText, from a text file.

Pennington, Socher, Manning, "GloVe" (2014); Mikolov et al., "Distributed representations of words and phrases" (2013);
Bojanowski et al., "Enriching word vectors with subword information" (2017). Words that mean alike lie near one another
before a single label is seen, which helps most with few texts; a word has one vector whatever its sense. A pretrained
transformer knows more and costs a thousand times as much.

The file has one word and its numbers per line, with or without word2vec's first line (count and dimension), plain or
gzipped. It is read once, line by line, and only the rows of the column's own vocabulary are kept; a bundle holds them,
so a trained model never asks for the file again. A word is looked up as the column spells it, else by its lower-case
NFKC form, the first such line (the most frequent word) winning. How much of the column the file covers is logged and
kept in `WordVectors.coverage`.
"""

from __future__ import annotations

import gzip
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, NonNegativeFloat
from polysense.core.json import read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Tokens
from polysense.errors import BundleError, ConfigError, WeightsError
from polysense.modalities.text.record import TextColumn, TextRequirements
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["Coverage", "WordVectors", "WordVectorsConfig", "read_vectors"]

_log = get_logger("polysense.nn.encoders")
_FILE = "word_vectors.json"


@dataclass(frozen=True, kw_only=True)
class WordVectorsConfig(EncoderConfig):
    """GloVe, word2vec or fastText vectors of the words, from a text file.

    Attributes:
        path: The file: a word and its numbers per line, with or without a first line that counts them; may be gzipped.
        tune: "frozen", or "full" to let the vectors learn too.
        learning_rate_scale: The vectors' learning rate over the rest's, with tune full.
        missing: What words start from that the file lacks: zero, or random with the spread of those that it has (as
            Kim 2014). To look rare words up too, set the column's min_frequency to 1.
        output: mean gives one token per text, the mean of its words' vectors; words gives one token per word.
        dropout: On the words' vectors.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["word_vectors"] = "word_vectors"
    path: str
    tune: Literal["frozen", "full"] = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1
    missing: Literal["zero", "random"] = "zero"
    output: Literal["mean", "words"] = "mean"
    dropout: FractionBelowOne = 0.0

    def build(self, column: Column, width: int, resources: Path | None = None) -> WordVectors:
        """Reads the file, or takes the shape of what a bundle holds.

        Raises:
            WeightsError: The file can't be read, or has none of the column's words.
        """
        self.check(column)
        column = TextColumn.of(column)
        if column.vocabulary is None or column.document_frequencies is None:
            raise ConfigError(
                f"the encoder word_vectors needs the words of column {column.name!r}, whose preprocessing was fitted "
                "without keeping them; fit it again"
            )
        if resources is not None:
            dimension, coverage = _read_resources(resources / _FILE)
            vectors = torch.zeros(len(column.vocabulary), dimension)
        else:
            path = Path(self.path).expanduser()
            result, known = read_vectors(path, column.vocabulary)
            coverage = _coverage(known, column.vocabulary, column.document_frequencies)
            _report(path, column.name, column.vocabulary, coverage)
            vectors = torch.from_numpy(result)
            if self.missing == "random":
                missing = torch.from_numpy(~known)
                missing[column.padding_id] = False
                spread = vectors[torch.from_numpy(known)].std(correction=0)
                vectors[missing] = torch.randn(int(missing.sum()), vectors.shape[1]) * spread
        return WordVectors(self, column, width, vectors, coverage)

    def requirements(self, column_name: str, modality: str) -> Requirements:
        """Words, which they are, and how many texts hold each (for the coverage)."""
        return TextRequirements(tokenization="words", vocabulary=True, token_frequencies=True)


@dataclass(frozen=True)
class Coverage:
    """How much of a column a file of word vectors has.

    Attributes:
        vocabulary: Share of the column's words.
        texts: Share of the words of the training texts, a word that repeats within a text counted once. Words that the
            column's vocabulary lacks count as not covered.
    """

    vocabulary: float
    texts: float


class WordVectors(Encoder):
    """Looked-up vectors, projected to the model's width.

    Attributes:
        coverage: How much of the column the file has.
    """

    vectors: Tensor

    def __init__(
        self,
        config: WordVectorsConfig,
        column: TextColumn,
        width: int,
        vectors: Float[Tensor, "vocabulary dimension"],
        coverage: Coverage,
    ) -> None:
        super().__init__(column, width)
        self.config = config
        self.coverage = coverage
        if config.tune == "full":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(vectors.shape[1], width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        length = values.shape[1]
        mask = torch.arange(length, device=values.device) < lengths[:, None]
        words = self.dropout(F.embedding(values * mask, self.vectors))
        if self.config.output == "words":
            return Tokens(self.projection(words), mask, (length,))
        mean = Tokens(words, mask, (length,)).mean()
        return Tokens(self.projection(mean)[:, None], (lengths > 0)[:, None], (1,))

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        if self.config.tune == "full":
            yield cast(nn.Parameter, self.vectors)

    def save_resources(self, folder: Path) -> None:
        content = {"dimension": self.vectors.shape[1], "coverage": asdict(self.coverage)}
        write_json(folder / _FILE, content)


def _read_resources(path: Path) -> tuple[int, Coverage]:
    try:
        content = read_json(path, dict)
        return int(content["dimension"]), Coverage(**content["coverage"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: can't be read: {error}; save the model again") from error


def read_vectors(path: Path, vocabulary: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vectors of some words.

    Args:
        path: The text file, see above.
        vocabulary: The words.

    Returns:
        float32 [vocabulary, dimension], zeros where the file lacks the word, and which words it has, bool [vocabulary].

    Raises:
        WeightsError: The file can't be read, a line is malformed (only its number of fields is looked at where its word
            is not asked for), or it has no line at all; with the file and the line.
    """
    exact = {word: position for position, word in enumerate(vocabulary) if word}
    folded: dict[str, list[int]] = {}
    for word, position in exact.items():
        folded.setdefault(_fold(word), []).append(position)
    known = np.zeros(len(vocabulary), dtype=bool)
    spelled_so = np.zeros(len(vocabulary), dtype=bool)
    vectors: np.ndarray | None = None
    dimension = 0
    announced: int | None = None
    number = num_vectors = 0
    for number, line in enumerate(_lines(path), start=1):
        fields = line.rstrip(b" \t\r\n")
        if number == 1:
            fields = fields.removeprefix(b"\xef\xbb\xbf")
            first = fields.split()
            if len(first) == 2 and all(part.isdigit() for part in first):  # word2vec's and fastText's first line
                announced, dimension = int(first[0]), int(first[1])
                continue
        if not fields:
            continue
        dimension = dimension or len(fields.split()) - 1
        if dimension < 1:
            raise _malformed(path, number, fields, "a word and its numbers")
        if fields.count(b" ") != dimension:  # tabs, or a word with spaces in it (GloVe 840B has some)
            fields = _respaced(path, number, fields, dimension)
        num_vectors += 1
        parts = fields.rsplit(b" ", dimension)
        word = parts[0].decode("utf-8", "replace")
        if vectors is None:
            vectors = np.zeros((len(vocabulary), dimension), dtype=np.float32)
        at = exact.get(word)
        others = [i for i in folded.get(_fold(word), ()) if i != at and not known[i]]
        if at is not None and not spelled_so[at]:
            spelled_so[at] = True
            others.append(at)
        if others:
            vectors[others] = _numbers(path, number, parts[1:])
            known[others] = True
    if vectors is None:
        raise WeightsError(f"{path}: holds no word vectors ({number} lines); expected a word and its numbers per line")
    if announced is not None and announced != num_vectors:
        _log.warning("%s: its first line announces %d vectors, it holds %d", path, announced, num_vectors)
    return vectors, known


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PK\x03\x04":
                raise WeightsError(f"{path}: is a zip archive; unpack it and give the text file that it holds")
            if start[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    yield from unpacked
            else:
                yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise WeightsError(
            f"{path}: can't be read: {error}; expected a text file of word vectors (GloVe, word2vec or fastText)"
        ) from None


def _fold(word: str) -> str:
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).lower()


def _respaced(path: Path, number: int, line: bytes, dimension: int) -> bytes:
    """The line with one space between its fields, the spaces of its word kept; checked in full."""
    parts = line.rsplit(None, dimension)
    if len(parts) != dimension + 1:
        raise _malformed(path, number, line, f"a word and {dimension} numbers")
    _numbers(path, number, parts[1:])
    return b" ".join(parts)


def _numbers(path: Path, number: int, fields: list[bytes]) -> np.ndarray:
    try:
        values = np.array(fields, dtype=np.float32)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        bad = next(field for field in fields if not _is_number(field))
        raise WeightsError(
            f"{path}, line {number}: found {_short(bad)} among the vector's numbers, expected {len(fields)} finite "
            "numbers; is the file damaged, or of another kind than text?"
        )
    return values


def _is_number(field: bytes) -> bool:
    try:
        return bool(np.isfinite(np.float32(field)))
    except ValueError:
        return False


def _malformed(path: Path, number: int, line: bytes, expected: str) -> WeightsError:
    return WeightsError(
        f"{path}, line {number}: found {len(line.split())} fields ({_short(line)}), expected {expected}; is the file "
        "damaged, or binary? word2vec's .bin has to be converted to text"
    )


def _short(content: bytes) -> str:
    text = content.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _coverage(known: np.ndarray, vocabulary: Sequence[str], frequencies: Sequence[float]) -> Coverage:
    words = np.array([not _is_special(word) for word in vocabulary])
    occurrences = np.array(frequencies)  # the unknown's are there too: they are words that are not covered
    return Coverage(
        vocabulary=float(known[words].mean()) if words.any() else 0.0,
        texts=float(occurrences[known & words].sum() / max(occurrences.sum(), 1e-12)),
    )


def _is_special(word: str) -> bool:
    return word in ("", "<pad>", "<unk>")


def _report(path: Path, column: str, vocabulary: Sequence[str], coverage: Coverage) -> None:
    words = [word for word in vocabulary if not _is_special(word)]
    if not coverage.vocabulary:
        raise WeightsError(
            f"{path}: has none of the {len(words)} words of column {column!r}, such as {words[:5]}; expected vectors "
            "of the texts' language, and a column whose tokens are words"
        )
    _log.info(
        "%s covers %.1f%% of the %d words of column %r, and %.1f%% of the words in its texts",
        path,
        100 * coverage.vocabulary,
        len(words),
        column,
        100 * coverage.texts,
    )

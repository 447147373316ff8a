"""Tf-idf: the words of a text, or their letters in runs, weighted by how few texts have them.

The formulas are scikit-learn's `TfidfVectorizer` (sublinear term frequency, smoothed idf, length 1), so the numbers are
its numbers; there is no scikit-learn at prediction. Runs of letters stay inside words with a space at each end, as its
`char_wb` has them: they see endings, misspellings and, in languages without spaces, everything.

A vector is dense, so it has the terms of the most texts only: 2,048 float32 are 8 KiB a row. Rare terms are what
separates two texts but not what a model of a few thousand rows can learn of.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import PositiveInt
from polysense.core.modality_spec import parts
from polysense.core.schema import Column
from polysense.data.features import FeatureConfig, FeatureExtractor
from polysense.errors import DecodeError
from polysense.modalities.text.reading import read_text

__all__ = ["CharacterTfidfConfig", "CharacterTfidfExtractor", "TfidfExtractor", "WordTfidfConfig", "WordTfidfExtractor"]

_WORD = re.compile(r"\b\w\w+\b")
_MOST_TEXTS = 10_000  # that document frequencies are counted over
_MOST_CANDIDATES = 500_000  # terms that are counted at once: about 60 MB
_MOST_REMEMBERED = 50_000  # words whose runs of letters are remembered


@dataclass(frozen=True, kw_only=True)
class WordTfidfConfig(FeatureConfig):
    """Words of a text and pairs of them, weighted by tf-idf.

    Attributes:
        longest: Words in the longest term; 2 counts pairs of neighbors too.
        max_terms: Terms that have a number each, those of the most training texts.
        min_texts: Training texts that must hold a term; where no term is in so many, all are taken.
        max_characters: Of a longer text only the beginning is read.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["word_tfidf"] = "word_tfidf"
    longest: PositiveInt = 2
    max_terms: PositiveInt = 2_048
    min_texts: PositiveInt = 2
    max_characters: PositiveInt = 20_000


@dataclass(frozen=True, kw_only=True)
class CharacterTfidfConfig(FeatureConfig):
    """Runs of letters within words, weighted by tf-idf.

    Attributes:
        shortest: Characters in the shortest run.
        longest: And in the longest.
        max_terms: Runs that have a number each, those of the most training texts.
        min_texts: Training texts that must hold a run; where no run is in so many, all are taken.
        max_characters: Of a longer text only the beginning is read.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["character_tfidf"] = "character_tfidf"
    shortest: PositiveInt = 2
    longest: PositiveInt = 4
    max_terms: PositiveInt = 2_048
    min_texts: PositiveInt = 2
    max_characters: PositiveInt = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest > self.longest:
            raise ValueError(f"shortest: expected at most longest ({self.longest})")


class TfidfExtractor(FeatureExtractor):
    """Counts terms; how a text falls into terms is a subclass's."""

    is_scaled = False

    def __init__(self, config: WordTfidfConfig | CharacterTfidfConfig, column: Column) -> None:
        super().__init__(config, column)
        self.max_terms, self.min_texts, self.max_characters = config.max_terms, config.min_texts, config.max_characters
        self._ids: dict[str, int] = {}
        self._idf = np.zeros(0)

    @property
    def num_features(self) -> int:
        """See `FeatureExtractor`."""
        return len(self._idf)

    @property
    def terms(self) -> list[str]:
        """What each number stands for, once fitted."""
        return list(self._ids)

    @abstractmethod
    def distinct(self, text: str) -> Iterable[str]:
        """The different terms of a text."""

    @abstractmethod
    def counts(self, text: str) -> Mapping[int, int]:
        """How often each known term occurs in a text, by its number."""

    def fit(self, cells: Iterable[object], items: Iterable[Sequence[np.ndarray]]) -> None:
        """See `FeatureExtractor`."""
        num_texts, texts_of = 0, Counter[str]()
        for cell in cells:
            try:
                text = self._text(cell)
            except DecodeError:
                continue  # listed when its row is read
            if not text.strip():
                continue
            num_texts += 1
            texts_of.update(self.distinct(text))
            if len(texts_of) > _MOST_CANDIDATES:
                texts_of = Counter({term: count for term, count in texts_of.items() if count > 1})
            if num_texts == _MOST_TEXTS:
                break
        frequent = [term for term, count in texts_of.items() if count >= self.min_texts] or list(texts_of)
        chosen = sorted(frequent, key=lambda term: (-texts_of[term], term))[: self.max_terms]
        self._ids = {term: position for position, term in enumerate(chosen)}
        self._idf = np.array([math.log((1 + num_texts) / (1 + texts_of[term])) + 1 for term in chosen])

    def extract(self, cell: object, items: Sequence[np.ndarray]) -> np.ndarray:
        """See `FeatureExtractor`; of a cell's several texts all terms count together."""
        vector = np.zeros(self.num_features)
        counts = self.counts(self._text(cell))
        if not counts:
            return vector
        positions = np.fromiter(counts, np.int64, len(counts))
        times = np.fromiter(counts.values(), np.float64, len(counts))
        weights = (1 + np.log(times)) * self._idf[positions]
        vector[positions] = weights / math.sqrt(math.fsum((weights * weights).tolist()))
        return vector

    def _text(self, cell: object) -> str:
        return " ".join(read_text(part)[: self.max_characters] for part in parts(cell))[: self.max_characters].lower()

    def state(self) -> dict[str, Any]:
        """See `FeatureExtractor`."""
        return {"terms": list(self._ids), "idf": self._idf.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `FeatureExtractor`."""
        self._ids = {term: position for position, term in enumerate(state["terms"])}
        self._idf = np.array(state["idf"], float)
        if len(self._ids) != self._idf.size:
            raise ValueError(f"found {self._idf.size} weights for {len(self._ids)} different terms, expected as many")


class WordTfidfExtractor(TfidfExtractor, config=WordTfidfConfig):
    """Words of two letters or more, and neighbors."""

    def __init__(self, config: WordTfidfConfig, column: Column) -> None:
        super().__init__(config, column)
        self.longest = config.longest

    def distinct(self, text: str) -> Iterable[str]:
        """See `TfidfExtractor`."""
        return set(self._terms(text))

    def counts(self, text: str) -> Mapping[int, int]:
        """See `TfidfExtractor`."""
        return Counter(self._ids[term] for term in self._terms(text) if term in self._ids)

    def _terms(self, text: str) -> Iterator[str]:
        words = _WORD.findall(text)
        for length in range(1, self.longest + 1):
            for start in range(len(words) - length + 1):
                yield " ".join(words[start : start + length])


class CharacterTfidfExtractor(TfidfExtractor, config=CharacterTfidfConfig):
    """Runs of characters of words, which have a space at each end."""

    def __init__(self, config: CharacterTfidfConfig, column: Column) -> None:
        super().__init__(config, column)
        self.lengths = range(config.shortest, config.longest + 1)
        self._remembered: dict[str, tuple[tuple[int, int], ...]] = {}

    def distinct(self, text: str) -> Iterable[str]:
        """See `TfidfExtractor`."""
        return {run for word in set(text.split()) for run in self._runs(word)}

    def counts(self, text: str) -> Mapping[int, int]:
        """See `TfidfExtractor`."""
        counts: dict[int, int] = {}
        for word, times in Counter(text.split()).items():
            for position, each in self._known_runs(word):
                counts[position] = counts.get(position, 0) + each * times
        return counts

    def _known_runs(self, word: str) -> tuple[tuple[int, int], ...]:
        """A word's runs by their number, and how often each occurs in it."""
        known = self._remembered.get(word)
        if known is None:
            known = tuple(Counter(self._ids[run] for run in self._runs(word) if run in self._ids).items())
            if len(self._remembered) < _MOST_REMEMBERED:
                self._remembered[word] = known
        return known

    def _runs(self, word: str) -> Iterator[str]:
        padded = f" {word} "
        for length in self.lengths:
            if length >= len(padded):  # a word that is no longer than this counts once, as a whole
                yield padded
                return
            for start in range(len(padded) - length + 1):
                yield padded[start : start + length]

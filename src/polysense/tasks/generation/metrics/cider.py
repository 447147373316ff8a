"""CIDEr-D: how much a caption says what people say of this image and of few others, 0 to 10.

Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation", 2015, sections 4 and 5, as the COCO caption
evaluation computes it (equal to pycocoevalcap on the same words). Each text is four vectors, for n-grams of 1 to 4
words, with g_k = count_k (log rows - log max(1, rows whose references have the n-gram)). Then

    CIDEr-D = 10 * mean over n and over the row's references of
              exp(-(bigrams written - its bigrams)^2 / (2 * 6^2)) * min(g_hyp, g_ref) . g_ref / (|g_hyp| |g_ref|)

and the corpus's score is the mean of its rows'. (The paper's penalty is on the length; the code has always counted
bigrams.) The document frequencies come from the references of all the rows that are evaluated, so a row's score depends
on which others are tested with it; in a bootstrap they stay those of the whole set. Papers print 100 times this value:
their 120 is 1.2 here. A text of fewer than 4 words can't reach 10, and a single row scores 0: each of its n-grams is in
all rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from polysense.tasks.generation.metrics.words import Tokenize, caption_words

__all__ = ["NgramRarity", "cider_statistics"]

_ORDER = 4
_SIGMA = 6.0


class NgramRarity:
    """In how many rows' references each n-gram is.

    Args:
        references: Of all rows of the corpus.
        tokenize: Splits a text into words.

    Attributes:
        num_rows: Of the corpus.
    """

    def __init__(self, references: Sequence[Sequence[str]], tokenize: Tokenize = caption_words) -> None:
        from sacrebleu.metrics.helpers import extract_word_ngrams

        self.num_rows = len(references)
        words = [[list(tokenize(text)) for text in texts] for texts in references]
        self._frequencies = [
            Counter(ngram for row in words for ngram in set().union(*(extract_word_ngrams(each, n) for each in row)))
            for n in range(1, _ORDER + 1)
        ]

    def of(self, order: int) -> Mapping[str, int]:
        """Rows by n-gram; one that none has is as rare as can be."""
        return self._frequencies[order - 1]


def cider_statistics(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    tokenize: Tokenize = caption_words,
    rarity: NgramRarity | None = None,
) -> np.ndarray:
    """Each row's CIDEr-D; see `row_scores`.

    Args:
        references: One or more texts per row.
        hypotheses: The generated texts.
        tokenize: Splits a text into words.
        rarity: Of n-grams in a corpus; None: among these rows.
    """
    from sacrebleu.metrics.helpers import extract_word_ngrams

    rarity = NgramRarity(references, tokenize) if rarity is None else rarity
    generated = [list(tokenize(text)) for text in hypotheses]
    expected = [[list(tokenize(text)) for text in texts] for texts in references]
    statistics = np.tile([0.0, 1.0], (len(hypotheses), 1))
    for order in range(1, _ORDER + 1):
        frequency = rarity.of(order)
        for row, words in enumerate(generated):
            own = _weighted(extract_word_ngrams(words, order), frequency, rarity.num_rows)
            similarities = [
                _penalty(words, text)
                * _cosine(own, _weighted(extract_word_ngrams(text, order), frequency, rarity.num_rows))
                for text in expected[row]
            ]
            statistics[row, 0] += 10.0 * sum(similarities) / (_ORDER * len(similarities))
    return statistics


def _weighted(count: Mapping[str, int], frequency: Mapping[str, int], num_rows: int) -> dict[str, float]:
    """Each n-gram's count times its rarity."""
    rows = math.log(num_rows)
    return {ngram: times * (rows - math.log(max(frequency.get(ngram, 0), 1))) for ngram, times in count.items()}


def _cosine(own: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Cosine similarity in which an n-gram that is repeated counts no more often than the reference has it."""
    norms = math.hypot(*own.values()) * math.hypot(*other.values())
    product = sum(min(own[ngram], weight) * weight for ngram, weight in other.items() if ngram in own)
    return product / norms if norms else 0.0


def _penalty(generated: Sequence[str], expected: Sequence[str]) -> float:
    apart = max(len(generated) - 1, 0) - max(len(expected) - 1, 0)
    return math.exp(-(apart**2) / (2 * _SIGMA**2))

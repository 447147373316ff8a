"""How much is written and how varied: lengths, and the share of n-grams that are not repeats.

A captioner that says the same of every image has a good length and a tiny distinct-2. These read the texts alone, so
they say nothing about being right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.evaluation.metrics.base import ratio
from polysense.tasks.generation.metrics.words import Tokenize, caption_words

__all__ = ["Distinct", "length_ratio", "length_statistics", "nearest_length"]


def length_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = caption_words
) -> np.ndarray:
    """Counts what lengths sum over rows: `mean_score` of the first and last column, `length_ratio` of the first two.

    Returns:
        float64 [rows, 3]: words generated, words of the reference nearest in length (as BLEU has it), 1.
    """
    statistics = np.ones((len(hypotheses), 3))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        generated = len(tokenize(hypothesis))
        statistics[row, :2] = generated, nearest_length(generated, [len(tokenize(text)) for text in texts])
    return statistics


def length_ratio(sums: np.ndarray) -> np.ndarray:
    """Words written for each word of the references: 1 is neither too long nor too short.

    Args:
        sums: [resamples, 2], sums of words written and of the references' words over rows.

    Returns:
        [resamples], NaN where the references have no words.
    """
    return ratio(sums[:, 0], sums[:, 1])


def nearest_length(length: int, lengths: Sequence[int]) -> int:
    """The length nearest to `length`; the shorter of two that are as near."""
    return min(lengths, key=lambda one: (abs(one - length), one))


class Distinct:
    """Distinct-n: different n-grams over all n-grams, of all texts together.

    Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016, section 5.2; divided by
    the n-grams, so that 1 means no repeat (the paper divides by the words). It falls as more rows are written, so
    compare over the same rows only.
    """

    def __init__(self, hypotheses: Sequence[str], n: int, tokenize: Tokenize = caption_words) -> None:
        """Numbers the n-grams of the generated texts."""
        from sacrebleu.metrics.helpers import extract_word_ngrams

        counts = [extract_word_ngrams(list(tokenize(text)), n) for text in hypotheses]
        holders: dict[str, list[int]] = {}
        for row, count in enumerate(counts):
            for ngram in count:
                holders.setdefault(ngram, []).append(row)
        self._rows = np.array([row for rows in holders.values() for row in rows], dtype=np.int64)
        sizes = np.array([len(rows) for rows in holders.values()], dtype=np.int64)
        self._starts = np.cumsum(sizes) - sizes
        self._total = np.array([count.total() for count in counts], dtype=np.float64)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The value over the rows of each resample.

        A bootstrap repeats rows, and each repeat looks like a lack of variety: about a third of its rows are repeats,
        so its interval would lie below the value. A resample with repeats has none; so distinct-n comes without bounds.

        Args:
            weights: float64 [resamples, rows], how often each row counts.

        Returns:
            float64 [resamples]; NaN where a row counts more than once and where nothing is written.
        """
        values = np.full(len(weights), np.nan)
        once = np.flatnonzero(weights.max(axis=1, initial=0.0) <= 1)
        if len(once) and len(self._rows):
            there = weights[once] > 0
            seen = np.logical_or.reduceat(there[:, self._rows], self._starts, axis=1).sum(axis=1)
            values[once] = ratio(seen.astype(np.float64), there @ self._total)
        return values

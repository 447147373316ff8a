"""BLEU: the n-grams that a text shares with its references, over the whole corpus, on a scale of 0 to 100.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002, section 2, as sacreBLEU
defines it (Post, 2018; equal to its default, mteval-v13a words and exponential smoothing). With

    p_n = matched n-grams / n-grams written,   n = 1..4,   BP = min(1, exp(1 - reference words / words written)),

BLEU = 100 BP (p_1 p_2 p_3 p_4)^(1/4). A match is clipped by the most that one reference has of the n-gram, and the
reference nearest in length gives the length. Counts and lengths are summed over the rows before they are divided, so
BLEU is no mean of the rows' scores, and a resample is a sum of rows. Where no n-gram of an order matches, the k-th such
order counts 1 / 2^k matches (Chen and Cherry, 2014, method 3). Where no text has four words, BLEU is 0 even if
every one is right: read the exact match of short answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from polysense.evaluation.metrics.base import ratio
from polysense.tasks.generation.metrics.ngrams import in_parts, shared_ngrams, word_ids
from polysense.tasks.generation.metrics.words import Tokenize, check_texts, words_13a

__all__ = ["bleu_score", "bleu_statistics", "nearest_length"]

_ORDER = 4


def bleu_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = words_13a
) -> np.ndarray:
    """What BLEU sums over the rows.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.
        tokenize: Splits a text into words.

    Returns:
        float64 [rows, 10]: words written, words of the reference nearest in length, matched 1- to 4-grams, 1- to
        4-grams written.
    """
    check_texts(references, hypotheses)
    found = np.zeros((len(hypotheses), 2 + 2 * _ORDER))
    for rows in in_parts(references, hypotheses):
        found[rows] = _part(references[rows], hypotheses[rows], tokenize)
    return found


def _part(references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize) -> np.ndarray:
    num_rows = len(hypotheses)
    num_references = np.array([len(texts) for texts in references], dtype=np.int64)
    items, lengths = word_ids([tokenize(text) for text in chain(chain.from_iterable(references), hypotheses)])
    found = np.zeros((num_rows, 2 + 2 * _ORDER))
    written = lengths[len(lengths) - num_rows :]
    found[:, 0] = written
    first = 0
    for row, num in enumerate(num_references.tolist()):
        found[row, 1] = nearest_length(int(written[row]), lengths[first : first + num].tolist())
        first += num
    for n, shared in enumerate(shared_ngrams(items, lengths, num_references, _ORDER)):
        # The most that one reference has of each n-gram written.
        most = np.zeros(len(shared.written.count), dtype=np.int64)
        same = shared.entry >= 0
        np.maximum.at(most, shared.entry[same], shared.expected.count[same])
        matched = np.minimum(most, shared.written.count)
        found[:, 2 + n] = np.bincount(shared.written.text, weights=matched, minlength=num_rows)
        found[:, 2 + _ORDER + n] = np.maximum(written - n, 0)
    return found


def bleu_score(sums: np.ndarray, order: int = _ORDER) -> np.ndarray:
    """BLEU from its sums.

    Args:
        sums: [resamples, 10], sums of `bleu_statistics` over rows.
        order: The longest n-gram that counts; 4 is what is called BLEU.

    Returns:
        [resamples], 0 to 100.
    """
    written, expected = sums[:, 0], sums[:, 1]
    matched, total = sums[:, 2 : 2 + order], sums[:, 2 + _ORDER : 2 + _ORDER + order]
    defined = np.logical_and((total > 0).all(axis=1), (matched > 0).any(axis=1))
    # An order that nothing matches counts half a match, the next one a quarter.
    misses = np.cumsum(matched == 0, axis=1)
    smoothed = np.where(matched == 0, 0.5**misses, matched)
    precision = ratio(smoothed, total, 0.0)
    logs = np.log(np.where(defined[:, None], precision, 1.0)).mean(axis=1)
    penalty = np.minimum(0.0, 1.0 - ratio(expected, written, np.inf))
    return np.where(defined, 100.0 * np.exp(logs + penalty), 0.0)


def nearest_length(length: int, lengths: Sequence[int]) -> int:
    """The length nearest to `length`; the shorter of two that are as near."""
    return min(lengths, key=lambda one: (abs(one - length), one))

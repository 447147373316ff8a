"""chrF: F2 over character n-grams, 0 to 100; it needs no words, so it serves every script.

Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015, section 2, as sacreBLEU defines it (equal
to its default: orders 1 to 6, beta 2, white space left out). Of several references the one with the best chrF of its
row counts. Matches and n-grams are summed over the rows for each order; precision and recall are means over the orders
that both sides have.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from polysense.evaluation.metrics.base import ratio
from polysense.tasks.generation.metrics.ngrams import character_ids, in_parts, shared_ngrams
from polysense.tasks.generation.metrics.words import check_texts

__all__ = ["chrf_score", "chrf_statistics"]

_ORDER = 6
_BETA_SQUARED = 4.0


def chrf_statistics(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
    """What chrF sums over the rows.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.

    Returns:
        float64 [rows, 18]: for the orders 1 to 6 the n-grams written, those of the row's best reference, and those
        that match.
    """
    check_texts(references, hypotheses)
    found = np.zeros((len(hypotheses), 3 * _ORDER))
    for rows in in_parts(references, hypotheses):
        found[rows] = _part(references[rows], hypotheses[rows])
    return found


def _part(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
    num_references = np.array([len(texts) for texts in references], dtype=np.int64)
    texts = ["".join(text.split()) for text in chain(chain.from_iterable(references), hypotheses)]
    items, lengths = character_ids(texts)
    num = int(num_references.sum())
    own, other = np.repeat(lengths[num:], num_references), lengths[:num]
    pairs = np.zeros((num, _ORDER, 3))  # each reference beside its row's text
    for n, shared in enumerate(shared_ngrams(items, lengths, num_references, _ORDER)):
        pairs[:, n, 1] = np.maximum(other - n, 0)
        # Where a reference has no n-gram to be right about, those written are not counted as wrong either.
        pairs[:, n, 0] = np.where(other > n, np.maximum(own - n, 0), 0)
        same = shared.entry >= 0
        matched = np.minimum(shared.expected.count[same], shared.written.count[shared.entry[same]])
        pairs[:, n, 2] = np.bincount(shared.expected.text[same], weights=matched, minlength=num)
    flat = pairs.reshape(num, 3 * _ORDER)
    scores = chrf_score(flat)
    ends = np.cumsum(num_references)
    best = [start + int(np.argmax(scores[start:end])) for start, end in zip(ends - num_references, ends, strict=True)]
    return flat[np.array(best, dtype=np.int64)]


def chrf_score(sums: np.ndarray) -> np.ndarray:
    """ChrF from its sums.

    Args:
        sums: [resamples, 18], sums of `chrf_statistics` over rows.

    Returns:
        [resamples], 0 to 100.
    """
    counts = sums.reshape(len(sums), _ORDER, 3)
    written, expected, matched = counts[..., 0], counts[..., 1], counts[..., 2]
    both = (written > 0) & (expected > 0)
    num_orders = both.sum(axis=1)
    precision = ratio(np.where(both, ratio(matched, written, 0.0), 0.0).sum(axis=1), num_orders, 0.0)
    recall = ratio(np.where(both, ratio(matched, expected, 0.0), 0.0).sum(axis=1), num_orders, 0.0)
    return 100.0 * ratio((1 + _BETA_SQUARED) * precision * recall, _BETA_SQUARED * precision + recall, 0.0)

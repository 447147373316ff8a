"""CIDEr-D: how much a caption says what people say of this picture and of few others, 0 to 10.

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

from collections.abc import Sequence
from itertools import chain

import numpy as np

from polysense.evaluation.metrics.base import ratio
from polysense.tasks.generation.metrics.ngrams import shared_ngrams, word_ids
from polysense.tasks.generation.metrics.words import Tokenize, caption_words, check_texts

__all__ = ["cider_statistics"]

_ORDER = 4
_SIGMA = 6.0


def cider_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = caption_words
) -> np.ndarray:
    """Each row's CIDEr-D among these rows; `mean_score` makes the value of the sums.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.
        tokenize: Splits a text into words.

    Returns:
        float64 [rows, 2]: the score, 1.
    """
    check_texts(references, hypotheses)
    num_rows = len(hypotheses)
    num_references = np.array([len(texts) for texts in references], dtype=np.int64)
    row_of = np.repeat(np.arange(num_rows), num_references)
    items, lengths = word_ids([tokenize(text) for text in chain(chain.from_iterable(references), hypotheses)])
    bigrams = np.maximum(lengths - 1, 0).astype(np.float64)
    apart = bigrams[: len(row_of)] - np.repeat(bigrams[len(row_of) :], num_references)
    penalty = np.exp(-(apart**2) / (2 * _SIGMA**2))
    total = np.zeros(len(row_of))
    for shared in shared_ngrams(items, lengths, num_references, _ORDER):
        written, expected, same = shared.written, shared.expected, shared.entry >= 0
        # Rows whose references have the n-gram; one that none has is as rare as can be.
        holders = np.unique(row_of[expected.text] * shared.num_ngrams + expected.ngram) % shared.num_ngrams
        frequency = np.bincount(holders, minlength=shared.num_ngrams)
        rarity = np.log(max(num_rows, 1)) - np.log(np.maximum(frequency, 1))
        own, other = written.count * rarity[written.ngram], expected.count * rarity[expected.ngram]
        norm = np.sqrt(np.bincount(written.text, weights=own**2, minlength=num_rows))
        other_norm = np.sqrt(np.bincount(expected.text, weights=other**2, minlength=len(row_of)))
        clipped = np.minimum(own[shared.entry[same]], other[same]) * other[same]
        product = np.bincount(expected.text[same], weights=clipped, minlength=len(row_of))
        total += ratio(product, np.repeat(norm, num_references) * other_norm, 0.0)
    score = np.bincount(row_of, weights=penalty * total, minlength=num_rows)
    return np.column_stack([10.0 * score / (_ORDER * num_references), np.ones(num_rows)])

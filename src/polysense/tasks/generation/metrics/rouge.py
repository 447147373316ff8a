"""ROUGE-L: the longest common subsequence of a text and its references, as the COCO caption evaluation has it, 0 to 1.

Lin and Och, "Automatic Evaluation of Machine Translation Quality Using Longest Common Subsequence and Skip-Bigram
Statistics", 2004, section 3: with the subsequence's length L, precision is L / words written, recall L / the
reference's words, and the score F = (1 + b^2) P R / (R + b^2 P). Chen et al., "Microsoft COCO Captions", 2015, section
3.2: b = 1.2, and P and R are each the best over the references, not necessarily of the same one. The score is the mean
of the rows' scores. (The `rouge-score` package takes b = 1, so its numbers are other ones.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.tasks.generation.metrics.words import Tokenize, caption_words, check_texts

__all__ = ["longest_common_subsequence", "rouge_l_statistics"]

_BETA_SQUARED = 1.2**2


def rouge_l_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = caption_words
) -> np.ndarray:
    """Each row's ROUGE-L; `mean_score` makes the value of the sums.

    A text without words is fully right if a reference has none either, and fully wrong if all have.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.
        tokenize: Splits a text into words.

    Returns:
        float64 [rows, 2]: the score, 1.
    """
    check_texts(references, hypotheses)
    found = np.ones((len(hypotheses), 2))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        written, expected = tokenize(hypothesis), [tokenize(text) for text in texts]
        if not written or not all(expected):
            expected = [words for words in expected if bool(words) == bool(written)]
        if not written:
            found[row, 0] = float(bool(expected))
            continue
        common = [longest_common_subsequence(written, words) for words in expected]
        precision = max(common, default=0) / len(written)
        recall = max((one / len(words) for one, words in zip(common, expected, strict=True)), default=0.0)
        best = precision * recall
        found[row, 0] = (1 + _BETA_SQUARED) * best / (recall + _BETA_SQUARED * precision) if best else 0.0
    return found


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, one integer operation on all of `first` per item of `second`.

    Hyyrö, "Bit-Parallel LCS-length Computation Revisited", 2004: a bit of `open_` is 0 where the column steps up.
    """
    places = _places(first)
    full = (1 << len(first)) - 1
    open_ = full
    for item in second:
        matched = open_ & places.get(item, 0)
        open_ = ((open_ + matched) | (open_ - matched)) & full
    return len(first) - open_.bit_count()


def _places(items: Sequence[str]) -> dict[str, int]:
    """For each item the bits of the places where it stands."""
    places: dict[str, int] = {}
    for place, item in enumerate(items):
        places[item] = places.get(item, 0) | (1 << place)
    return places

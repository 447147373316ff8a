"""Word and character error rate: edits from the reference to the hypothesis, over the reference's length.

(substitutions + deletions + insertions) / words (characters) of the references, summed over rows: the measure of
speech recognition since the NIST evaluations of the 1990s, counted by jiwer with its default transforms. Case and
punctuation count. For the word rate a text is split at any white space (jiwer's default knows the space alone); for the
character rate it is taken as it is, inner spaces included. 1 is no ceiling: a text that repeats itself has more edits
than the reference has words. Where the references of all rows are empty, the value is the number of words generated.

A script without spaces (Chinese, Japanese, Thai) makes each sentence one word, so the word rate says little there and
the character rate is the one to read; both are always given. Of several references, which jiwer does not know, the one
that is best for its row counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jiwer import AlignmentChunk, CharacterOutput, WordOutput

__all__ = ["cer_statistics", "error_rate", "wer_statistics"]


def wer_statistics(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
    """Counts what the word error rate sums over rows; `error_rate` computes the value from the sums.

    Returns:
        float64 [rows, 2]: edits in words, words of the row's best reference.
    """
    import jiwer

    expected, generated = ([" ".join(text.split()) for text in texts] for texts in _pairs(references, hypotheses))
    return _best(references, jiwer.process_words(expected, generated))


def cer_statistics(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
    """Counts what the character error rate sums over rows; `error_rate` computes the value from the sums.

    Returns:
        float64 [rows, 2]: edits in characters, characters of the row's best reference.
    """
    import jiwer

    return _best(references, jiwer.process_characters(*_pairs(references, hypotheses)))


def error_rate(sums: np.ndarray) -> np.ndarray:
    """Edits per word or character.

    Args:
        sums: [resamples, 2], sums of edits and of reference lengths over rows.

    Returns:
        [resamples], 0 or more; the edits themselves where the references are all empty.
    """
    return sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], 1.0)


def _pairs(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> tuple[list[str], list[str]]:
    """Each reference beside its row's hypothesis."""
    expected = [text for texts in references for text in texts]
    return expected, [one for texts, one in zip(references, hypotheses, strict=True) for _ in texts]


def _best(references: Sequence[Sequence[str]], aligned: WordOutput | CharacterOutput) -> np.ndarray:
    """Edits and length of each row's reference with the lowest rate; of equal ones the longest."""
    counts = [
        (_edits(chunks), len(items)) for chunks, items in zip(aligned.alignments, aligned.references, strict=True)
    ]
    statistics = np.zeros((len(references), 2))
    start = 0
    for row, texts in enumerate(references):
        end = start + len(texts)
        statistics[row] = min(counts[start:end], key=lambda pair: (pair[0] / max(pair[1], 1), -pair[1]))
        start = end
    return statistics


def _edits(chunks: Sequence[AlignmentChunk]) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in chunks
        if chunk.type != "equal"
    )

"""chrF: F2 over character n-grams, 0 to 100; it needs no words, so it serves every script.

Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015, section 2. sacreBLEU counts and scores,
with its defaults: `char_order=6`, `word_order=0`, `beta=2`, white space left out, case kept, no epsilon smoothing. Of
several references the one with the best chrF for its row counts. N-grams are summed over rows for each order; precision
and recall are means over the orders that both sides have.

sacreBLEU's public functions give a row's score and not its counts, so this calls the two methods that its own bootstrap
calls (`Metric._extract_corpus_statistics`, `Metric._compute_score_from_stats`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

__all__ = ["chrf_score", "chrf_statistics"]

_COLUMNS = 3 * 6


def chrf_statistics(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
    """Counts what chrF sums over rows.

    Returns:
        float64 [rows, 18]: for each order from 1 to 6 the n-grams of the hypothesis, those of the row's best reference,
        and those that match.
    """
    from sacrebleu.metrics.chrf import CHRF

    if not hypotheses:
        return np.zeros((0, _COLUMNS))
    # sacreBLEU wants the first reference of every row, then the second; None where a row has fewer.
    streams = list(zip_longest(*references))
    return np.array(CHRF()._extract_corpus_statistics(hypotheses, streams), dtype=np.float64)


def chrf_score(sums: np.ndarray) -> np.ndarray:
    """Computes chrF from its sums.

    Args:
        sums: [resamples, 18], sums of `chrf_statistics` over rows.

    Returns:
        [resamples], 0 to 100.
    """
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    return np.array([metric._compute_score_from_stats(row).score for row in sums.tolist()], dtype=np.float64)

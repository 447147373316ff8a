"""BLEU: n-gram precision against one or more references, over the whole corpus, on a scale of 0 to 100.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002, section 2. sacreBLEU (Post, "A
Call for Clarity in Reporting BLEU Scores", 2018) counts and scores, with its defaults: `tokenize="13a"`
(mteval-v13a), `smooth_method="exp"` (Chen and Cherry, 2014, method 3), case kept, no effective order. Its tokenizers
`char` and `zh` are not used, so that a score means the same on every table, and `flores200` would need the network.

Counts and lengths are summed over rows before they are divided, so BLEU is no mean of row scores, and a bootstrap
resample is a sum of rows. Where no text has four words, BLEU is 0 even if every one is right: read the exact match of
short answers. Where a script has no spaces between words, 13a takes a sentence for a word: read chrF there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["bleu_score", "bleu_statistics"]

_ORDER = 4


def bleu_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenizer: str = "13a"
) -> np.ndarray:
    """Counts what BLEU sums over rows, in words of a tokenizer of sacreBLEU; "none" takes texts that are tokenized.

    Returns:
        float64 [rows, 10]: hypothesis words, words of the reference nearest in length, matched 1- to 4-grams, all 1-
        to 4-grams of the hypothesis.
    """
    from sacrebleu.metrics.bleu import BLEU

    # effective_order changes no count; without it sacreBLEU warns of scores of single sentences, which nobody reads.
    metric = BLEU(tokenize=tokenizer, max_ngram_order=_ORDER, effective_order=True)
    statistics = np.zeros((len(hypotheses), 2 + 2 * _ORDER))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        score = metric.sentence_score(hypothesis, list(texts))
        statistics[row] = score.sys_len, score.ref_len, *score.counts, *score.totals
    return statistics


def bleu_score(sums: np.ndarray, order: int = _ORDER) -> np.ndarray:
    """Computes BLEU from its sums.

    Args:
        sums: [resamples, 10], sums of `bleu_statistics` over rows.
        order: The longest n-gram that counts; 4 is what is called BLEU.

    Returns:
        [resamples], 0 to 100.
    """
    from sacrebleu.metrics.bleu import BLEU

    scores = [
        BLEU.compute_bleu(
            correct=row[2 : 2 + order],
            total=row[2 + _ORDER : 2 + _ORDER + order],
            sys_len=row[0],
            ref_len=row[1],
            smooth_method="exp",
            max_ngram_order=order,
        ).score
        for row in np.rint(sums).astype(np.int64).tolist()
    ]
    return np.array(scores, dtype=np.float64)

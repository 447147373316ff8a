"""Short answers: exact match, the VQA challenge's accuracy and the token F1 of reading comprehension, each 0 to 1.

All three compare what `answer_words` leaves of a text: case, punctuation and the articles a, an and the are set aside,
the sign and the point of a number are not. Each row has its own score and the corpus's is their mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from polysense.tasks.generation.metrics.words import Tokenize, answer_words, check_texts

__all__ = ["exact_match_statistics", "token_f1_statistics", "vqa_accuracy_statistics"]

# People asked the same question, from which the challenge's rule applies.
_NUM_ANSWERS = 10
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}


def exact_match_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = answer_words
) -> np.ndarray:
    """Whether each row's answer is one of its references; `mean_score` makes the value of the sums.

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, section 6.1.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.
        tokenize: What is compared of a text.

    Returns:
        float64 [rows, 2]: 0 or 1, 1.
    """
    check_texts(references, hypotheses)
    result = np.ones((len(hypotheses), 2))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        written = list(tokenize(hypothesis))
        result[row, 0] = any(list(tokenize(text)) == written for text in texts)
    return result


def vqa_accuracy_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = answer_words
) -> np.ndarray:
    """Each row's VQA accuracy; `mean_score` makes the value of the sums.

    Antol et al., "VQA: Visual Question Answering", 2015, section 3: an answer that at least 3 people gave is right. As
    the challenge's code does it, this is the mean over the people of min(1, others who gave the answer / 3). It needs
    10 answers; a row with fewer is right if its answer is one of them. The words zero (none) to ten are
    digits here. Spellings without an apostrophe ("dont") are matched by leaving all apostrophes out, where the
    challenge has a list of them.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.
        tokenize: What is compared of a text.

    Returns:
        float64 [rows, 2]: the accuracy, 1.
    """
    check_texts(references, hypotheses)
    result = np.ones((len(hypotheses), 2))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        written = _with_digits(tokenize(hypothesis))
        same = sum(_with_digits(tokenize(text)) == written for text in texts)
        if len(texts) < _NUM_ANSWERS:
            result[row, 0] = same > 0
        else:
            # Of those who gave this answer each leaves one fewer behind.
            left_out = same * min(1.0, (same - 1) / 3) + (len(texts) - same) * min(1.0, same / 3)
            result[row, 0] = left_out / len(texts)
    return result


def token_f1_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = answer_words
) -> np.ndarray:
    """Each row's F1 over the words that an answer shares with a reference; `mean_score` makes the value of the sums.

    Rajpurkar et al., "SQuAD", 2016, section 6.1: words as bags, the best reference counts.

    Args:
        references: One or more texts per row.
        hypotheses: What was written.
        tokenize: What is compared of a text.

    Returns:
        float64 [rows, 2]: the F1, 1. Two texts without words match, one does not.
    """
    check_texts(references, hypotheses)
    result = np.ones((len(hypotheses), 2))
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        written = Counter(tokenize(hypothesis))
        result[row, 0] = max(_f1(written, Counter(tokenize(text))) for text in texts)
    return result


def _f1(written: Counter[str], expected: Counter[str]) -> float:
    total = written.total() + expected.total()
    return 2 * (written & expected).total() / total if total else 1.0


def _with_digits(words: Sequence[str]) -> list[str]:
    return [_NUMBERS.get(word, word) for word in words]

"""Short answers: exact match, the VQA challenge's accuracy and the token F1 of reading comprehension, each 0 to 1.

All three compare what `answer_words` leaves of a text: case, punctuation and the articles a, an and the are set aside,
the sign and the point of a number are not. Each row has its own score and the corpus's is their mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from polysense.tasks.generation.metrics.words import Tokenize, Words, answer_words, row_scores

__all__ = ["exact_match_statistics", "token_f1_statistics", "vqa_accuracy_statistics"]

# People asked the same question, from which the challenge's rule applies.
_NUM_ANSWERS = 10
_SPELLED = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_NUMBERS = {word: str(number) for number, word in enumerate(_SPELLED)} | {"none": "0"}


def exact_match_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = answer_words
) -> np.ndarray:
    """Whether each row's answer is one of its references; see `row_scores`.

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, section 6.1.
    """
    return row_scores(references, hypotheses, tokenize, lambda words, others: float(words in others))


def vqa_accuracy_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = answer_words
) -> np.ndarray:
    """Each row's VQA accuracy; see `row_scores`.

    Antol et al., "VQA: Visual Question Answering", 2015, section 3: an answer that at least 3 people gave is right. As
    the challenge's code does it, this is the mean over the people of min(1, others who gave the answer / 3). It needs
    10 answers; a row with fewer is right if its answer is one of them. The words zero (none) to ten are
    digits here. Spellings without an apostrophe ("dont") are matched by leaving all apostrophes out, where the
    challenge has a list of them.
    """
    return row_scores(references, hypotheses, tokenize, _vqa_accuracy)


def token_f1_statistics(
    references: Sequence[Sequence[str]], hypotheses: Sequence[str], tokenize: Tokenize = answer_words
) -> np.ndarray:
    """Each row's F1 over the words that an answer shares with a reference; see `row_scores`.

    Rajpurkar et al., "SQuAD", 2016, section 6.1: words as bags, the best reference counts. Two texts without words
    match, one does not.
    """
    return row_scores(references, hypotheses, tokenize, lambda words, others: max(_f1(words, one) for one in others))


def _vqa_accuracy(words: Words, others: Sequence[Words]) -> float:
    same = sum(_with_digits(other) == _with_digits(words) for other in others)
    if len(others) < _NUM_ANSWERS:
        return float(same > 0)
    # Of those who gave this answer each leaves one fewer behind.
    return (same * min(1.0, (same - 1) / 3) + (len(others) - same) * min(1.0, same / 3)) / len(others)


def _f1(words: Words, expected: Words) -> float:
    total = len(words) + len(expected)
    return 2 * (Counter(words) & Counter(expected)).total() / total if total else 1.0


def _with_digits(words: Words) -> list[str]:
    return [_NUMBERS.get(word, word) for word in words]

"""The n-grams that texts and their references share, counted for all rows at once.

A dictionary per text is simple and slow: the n-grams of 1,000 captions with 5 references each are 2 million insertions,
2 s on a slow core for chrF alone. Here an n-gram is a number, that of the (n-1)-gram at its start paired with its last
item, so each order is two sorts of integers, and what two texts share is found by a binary search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

__all__ = ["NgramCounts", "SharedNgrams", "character_ids", "in_parts", "shared_ngrams", "word_ids"]

# Characters that are counted at once: about 50 MB of work arrays.
_PART = 2**19


@dataclass(frozen=True, eq=False)
class NgramCounts:
    """Different n-grams of each text, sorted by text and n-gram.

    Attributes:
        text: int64 [entries], whose n-gram it is.
        ngram: int64 [entries], the n-gram's number.
        count: int64 [entries], how often the text has it.
    """

    text: np.ndarray
    ngram: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, eq=False)
class SharedNgrams:
    """All n-grams of one order.

    Attributes:
        written: Of the hypotheses; `text` is the row.
        expected: Of the references; `text` is the reference's number, row after row.
        entry: int64 [expected entries], the entry of `written` that is the same n-gram in the same row, or -1.
        num_ngrams: N-grams are numbered from 0 to this.
    """

    written: NgramCounts
    expected: NgramCounts
    entry: np.ndarray
    num_ngrams: int


def word_ids(texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers words in the order in which they first come.

    Returns:
        int64 [all words] and int64 [texts], how many of them each text has.
    """
    ids: dict[str, int] = {}
    numbers = [ids.setdefault(word, len(ids)) for word in chain.from_iterable(texts)]
    return np.array(numbers, dtype=np.int64), np.array([len(words) for words in texts], dtype=np.int64)


def character_ids(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Likewise for characters, by their code points."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return codes.astype(np.int64), np.array([len(text) for text in texts], dtype=np.int64)


def shared_ngrams(
    items: np.ndarray, lengths: np.ndarray, num_references: np.ndarray, order: int
) -> Iterator[SharedNgrams]:
    """Counts the n-grams of references and hypotheses.

    Args:
        items: int64, the items of all references, row after row, then of all hypotheses.
        lengths: int64 [references + rows], how many of them each text has.
        num_references: int64 [rows], how many of the references belong to each row.
        order: The longest n-gram.

    Yields:
        For each order from 1.
    """
    rows = len(num_references)
    row_of = np.repeat(np.arange(rows), num_references)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    num_items = int(items.max(initial=0)) + 1
    last, place = items, np.arange(len(items))
    grams = np.zeros(len(items), dtype=np.int64)
    for n in range(1, order + 1):
        if n > 1:
            # Those that end inside their text.
            inside = place + n - 1 < len(items)
            inside[inside] = owner[place[inside]] == owner[place[inside] + n - 1]
            place, grams = place[inside], grams[inside]
            last = items[place + n - 1]
        different, grams = np.unique(grams * num_items + last, return_inverse=True)
        num_ngrams = max(len(different), 1)
        pairs, counts = np.unique(owner[place] * num_ngrams + grams, return_counts=True)
        text, ngram = pairs // num_ngrams, pairs % num_ngrams
        split = int(np.searchsorted(text, len(row_of)))
        expected = NgramCounts(text[:split], ngram[:split], counts[:split])
        written = NgramCounts(text[split:] - len(row_of), ngram[split:], counts[split:])
        own = written.text * num_ngrams + written.ngram
        sought = row_of[expected.text] * num_ngrams + expected.ngram
        entry = np.searchsorted(own, sought)
        found = entry < len(own)
        found[found] = own[entry[found]] == sought[found]
        yield SharedNgrams(written, expected, np.where(found, entry, -1), num_ngrams)


def in_parts(references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Iterator[slice]:
    """Rows that are counted together, so that memory does not grow with the table."""
    start = size = 0
    for row, (texts, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        size += len(hypothesis) + sum(map(len, texts))
        if size >= _PART:
            yield slice(start, row + 1)
            start, size = row + 1, 0
    if start < len(hypotheses):
        yield slice(start, len(hypotheses))

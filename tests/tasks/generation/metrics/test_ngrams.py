from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.ngrams import character_ids, in_parts, shared_ngrams, word_ids

TEXTS = st.text(alphabet="ab猫\U0001f600\ud800", max_size=10)
ROWS = st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS), max_size=4)


def counter(text, n):
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


@given(ROWS)
def test_counts_what_a_counter_counts(rows):
    references = [(row, text) for row, (texts, _) in enumerate(rows) for text in texts]
    hypotheses = [text for _, text in rows]
    texts = [text for _, text in references] + hypotheses
    num_references = np.array([len(some) for some, _ in rows], dtype=np.int64)
    for ids in (character_ids(texts), word_ids(texts)):  # a text is a sequence of one-letter words too
        orders = list(shared_ngrams(*ids, num_references, 3))
        assert len(orders) == 3
        for n, shared in enumerate(orders, start=1):
            for row, text in enumerate(hypotheses):
                own = shared.written.text == row
                assert sorted(shared.written.count[own]) == sorted(counter(text, n).values())
            for number, (row, text) in enumerate(references):
                own = shared.expected.text == number
                assert sorted(shared.expected.count[own]) == sorted(counter(text, n).values())
                entries = shared.entry[own]
                same = entries >= 0
                common = np.minimum(shared.expected.count[own][same], shared.written.count[entries[same]])
                assert common.sum() == (counter(text, n) & counter(hypotheses[row], n)).total()
                assert (shared.written.text[entries[same]] == row).all()


@given(ROWS)
def test_parts_are_all_rows_in_order(rows):
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    parts = list(in_parts(references, hypotheses))
    assert [row for part in parts for row in range(len(rows))[part]] == list(range(len(rows)))

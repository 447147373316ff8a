from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.sequences import (
    Event,
    entity_statistics,
    event_statistics,
    f1_score,
    frame_statistics,
    precision_score,
    recall_score,
    segment_statistics,
)

TAGS = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), max_size=10)
EVENTS = st.lists(
    st.builds(
        lambda label, onset, length: Event(label, onset / 20, (onset + length) / 20),
        st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 30),
    ),
    max_size=5,
)  # fmt: skip


def counts(statistics):
    return statistics.sum(axis=0).tolist()


def test_entities_by_hand():
    # The example of seqeval's documentation: its F1 is 0.5.
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    statistics = entity_statistics(true, found)
    assert statistics.tolist() == [[0, 1, 1], [1, 1, 1]]
    sums = statistics.sum(axis=0, keepdims=True)
    assert [f(sums).item() for f in (f1_score, precision_score, recall_score)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("true", "found", "strict", "lenient"),
    [
        # An I that continues nothing: no entity to the letter, one by the CoNLL script.
        ("B-PER I-PER O", "I-PER I-PER O", [0, 0, 1], [1, 1, 1]),
        ("B-PER O", "B-PER I-LOC", [1, 1, 1], [1, 2, 1]),
        ("B-PER B-PER", "B-PER I-PER", [0, 1, 2], [0, 1, 2]),
        ("B-PER I-LOC I-LOC", "B-PER B-LOC I-LOC", [1, 2, 1], [2, 2, 2]),
        ("B-PER I-PER", "B-LOC I-LOC", [0, 1, 1], [0, 1, 1]),
        ("O O", "O O", [0, 0, 0], [0, 0, 0]),
    ],
)
def test_the_rules_for_entities(true, found, strict, lenient):
    assert counts(entity_statistics([true.split()], [found.split()])) == strict
    assert counts(entity_statistics([true.split()], [found.split()], strict=False)) == lenient


@pytest.mark.parametrize("tag", ["PER", "B", "B-", "E-PER", "O-PER", ""])
def test_other_tags_are_refused(tag):
    with pytest.raises(ValueError, match="expected O, B-type or I-type"):
        entity_statistics([["O"]], [[tag]])


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="row 0: found 2 true tags and 1 predicted"):
        entity_statistics([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="row 0"):
        frame_statistics([np.zeros((3, 2), bool)], [np.zeros((2, 2), bool)])


@given(st.lists(TAGS, min_size=1, max_size=5), st.booleans())
def test_the_true_entities_are_perfect_and_rows_do_not_touch(rows, strict):
    statistics = entity_statistics(rows, rows, strict=strict)
    score = f1_score(statistics.sum(axis=0, keepdims=True)).item()
    assert score == 1 or (np.isnan(score) and not statistics.any())
    np.testing.assert_array_equal(entity_statistics(rows[::-1], rows[::-1], strict=strict), statistics[::-1])
    single = [entity_statistics([row], [row], strict=strict)[0] for row in rows]
    np.testing.assert_array_equal(statistics, single)


def test_frames_by_hand():
    true = [np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)]
    found = [np.array([[1, 0], [0, 1], [0, 1]], dtype=bool)]
    assert counts(frame_statistics(true, found)) == [2, 3, 3]


def test_segments_by_hand():
    true = [[Event("dog", 0.5, 2.5), Event("cat", 1.0, 2.0)]]
    found = [[Event("dog", 1.1, 1.9), Event("cat", 0.9, 2.0)]]
    # Of dog 1 of 3 seconds, of cat the second it has and one it has not.
    assert counts(segment_statistics(true, found)) == [2, 3, 4]
    # A decimal that binary fractions miss is no further segment: 0.1 + 0.2 is 0.3.
    assert counts(segment_statistics([[Event("x", 0.0, 0.1 + 0.2)]], [[]], resolution=0.1)) == [0, 0, 3]


@pytest.mark.parametrize(
    ("found", "right"),
    [
        (Event("dog", 1.2, 2.0), 1),
        (Event("dog", 1.21, 2.0), 0),
        (Event("dog", 0.8, 2.0), 1),  # 0.2 before, though 1 - 0.8 is a little less and 0.8 - 0.6 a little more
        (Event("dog", 1.0, 2.5), 1),  # half of the true length of 1 s
        (Event("dog", 1.0, 2.51), 0),
        (Event("cat", 1.0, 2.0), 0),
    ],
)
def test_the_collar(found, right):
    assert counts(event_statistics([[Event("dog", 1.0, 2.0)]], [[found]])) == [right, 1, 1]


def test_an_offset_may_be_left_out_and_a_short_event_has_the_collar():
    late = [[Event("dog", 1.0, 9.0)]]
    assert counts(event_statistics([[Event("dog", 1.0, 2.0)]], late, offsets=False)) == [1, 1, 1]
    assert counts(event_statistics([[Event("dog", 0.6, 0.7)]], [[Event("dog", 0.8, 0.9)]])) == [1, 1, 1]


def test_events_are_paired_as_many_as_can_be():
    # The first true event could take either, the second only the first: greedily one pair, rightly two.
    true = [[Event("x", 1.0, 2.0), Event("x", 1.3, 2.3)]]
    found = [[Event("x", 1.15, 2.15), Event("x", 0.9, 1.9)]]
    assert counts(event_statistics(true, found)) == [2, 2, 2]
    # Two predictions of one event are one right and one too many.
    assert counts(event_statistics([[Event("x", 1.0, 2.0)]], [[Event("x", 1.0, 2.0)] * 2])) == [1, 2, 1]


@given(st.lists(EVENTS, min_size=1, max_size=4), EVENTS)
def test_the_true_events_are_perfect_and_order_is_nothing(rows, others):
    for statistics in (event_statistics(rows, rows), segment_statistics(rows, rows)):
        np.testing.assert_array_equal(statistics[:, 0], statistics[:, 2])
        score = f1_score(statistics.sum(axis=0, keepdims=True)).item()
        assert score == 1 or (np.isnan(score) and not any(rows))
    first = event_statistics([rows[0]], [others])
    np.testing.assert_array_equal(event_statistics([rows[0][::-1]], [others[::-1]]), first)
    assert first[0, 0] <= min(first[0, 1], first[0, 2])


def test_nothing_to_find_and_nothing_found_has_no_f1():
    assert np.isnan(f1_score(np.zeros((1, 3)))).all()
    assert f1_score(np.array([[0.0, 1.0, 0.0]])).item() == 0

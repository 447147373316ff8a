from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.variety import Distinct, length_ratio, length_statistics, nearest_length


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join), min_size=1, max_size=6), st.data())
def test_distinct_counts_different_ngrams_of_the_rows_that_are_drawn(texts, data):
    drawn = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    for n in (1, 2):
        found = [
            tuple(text.split()[i : i + n])
            for text, there in zip(texts, drawn, strict=True)
            if there
            for i in range(len(text.split()) - n + 1)
        ]
        expected = len(set(found)) / len(found) if found else np.nan
        assert Distinct(texts, n)(np.array([drawn], dtype=np.float64)) == pytest.approx([expected], nan_ok=True)


def test_distinct_by_hand_and_without_a_value_where_rows_repeat():
    weights = np.array([[1, 1], [2, 0], [1, 0], [0, 0]], dtype=np.float64)
    np.testing.assert_allclose(Distinct(["a cat a cat", "a dog"], 1)(weights), [3 / 6, np.nan, 2 / 4, np.nan])
    np.testing.assert_allclose(Distinct(["a cat a cat", "a dog"], 2)(weights), [3 / 4, np.nan, 2 / 3, np.nan])


def test_one_sentence_for_all_is_hardly_distinct():
    same, different = ["a man on a horse"] * 50, [f"a man with {i}" for i in range(50)]
    one = np.ones((1, 50))
    assert Distinct(same, 2)(one)[0] == pytest.approx(4 / 200)
    assert Distinct(different, 2)(one)[0] > 0.3


def test_lengths():
    found = length_statistics([["a b c", "a b c d e f"], ["x"]], ["A b, c d.", ""])
    assert found.tolist() == [[4, 3, 1], [0, 1, 1]]
    assert length_ratio(found[:, :2].sum(axis=0, keepdims=True)).item() == 1
    assert np.isnan(length_ratio(np.zeros((1, 2))).item())


def test_the_nearest_reference_gives_the_length():
    assert nearest_length(6, [9, 4, 8]) == 4
    assert nearest_length(6, [8, 4]) == 4
    assert nearest_length(6, [7]) == 7

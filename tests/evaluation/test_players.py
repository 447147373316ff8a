"""Columns that are judged one by one and groups of the others: nobody is lost, and what matters stays on its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.evaluation.players import as_players, halves, ordered_by_likeness, partition


def test_a_group_is_named_after_its_first_column_in_the_tables_order():
    names = ["a", "b", "c", "d"]
    players = as_players([["d", "b"], ["c"], ["a"]], names)
    assert [(player.name, player.columns) for player in players] == [
        ("a", ("a",)),
        ("b + 1 more", ("b", "d")),
        ("c", ("c",)),
    ]
    assert [player.is_group for player in players] == [False, True, False]


def test_no_group_has_the_name_of_a_column():
    players = as_players([["a", "b"], ["a + 1 more"]], ["a", "b", "a + 1 more"])
    assert [player.name for player in players] == ["a + 1 more columns", "a + 1 more"]


def test_columns_that_are_alike_come_to_lie_beside_each_other_and_are_cut_last():
    likeness = np.full((8, 8), 0.1)
    likeness[1, 6] = likeness[6, 1] = 0.9
    np.fill_diagonal(likeness, 1.0)
    order = ordered_by_likeness(likeness)
    assert sorted(order) == list(range(8))
    assert abs(order.index(1) - order.index(6)) == 1
    group = order
    while len(group) > 2:
        group = next(half for half in halves(group, likeness) if 1 in half)
        assert 6 in group


def search(weights: list[float], **options: int) -> list[list[int]]:
    """A partition by effects that add up."""
    likeness = np.eye(len(weights))
    return partition(
        [list(range(len(weights)))],
        lambda groups: [sum(weights[i] for i in group) for group in groups],
        likeness,
        **options,
    )


def test_what_matters_stays_on_its_own_and_the_rest_is_one_group():
    weights = [0.0] * 150
    weights[17], weights[90] = 3.0, 2.0
    groups = search(weights, num_splits=64, most=8)
    assert groups[:2] == [[17], [90]]
    assert len(groups) == 8


def test_without_time_there_are_the_groups_that_it_began_with():
    assert search([1.0, 2.0, 3.0], num_splits=0, most=2) == [[0, 1, 2]]


@given(
    weights=st.lists(st.floats(0, 10), min_size=1, max_size=40),
    num_splits=st.integers(0, 60),
    most=st.integers(2, 12),
)
def test_every_column_is_in_one_group_and_there_are_no_more_than_asked_for(weights, num_splits, most):
    groups = search(weights, num_splits=num_splits, most=most)
    assert sorted(column for group in groups for column in group) == list(range(len(weights)))
    assert all(groups)
    assert len(groups) <= most
    if num_splits >= len(weights) <= most:
        assert all(len(group) == 1 for group in groups)


def test_one_group_would_tell_nothing_apart():
    with pytest.raises(AssertionError, match="nothing can be told apart"):
        search([1.0, 2.0], num_splits=1, most=1)

"""Histories hold what was before a row, and nothing of its future; saved interactions come back whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.ranking.interactions import Interactions

Choices = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=30)


def interactions(choices: list[tuple[int, int, int]], *, has_times: bool = True) -> Interactions:
    users, items, times = np.array(choices, dtype=np.int64).T
    moments = times.astype(float) if has_times else None
    return Interactions.of(["a", "b", "c"], list("vwxyz"), users, items, moments, np.ones(len(users), dtype=bool))


@given(Choices, st.integers(1, 3), st.integers(0, 5), st.integers(-1, 7))
def test_a_row_knows_what_its_user_chose_strictly_before(
    choices: list[tuple[int, int, int]], user: int, item: int, time: int
) -> None:
    known = interactions(choices)
    items, chosen = known.before(user, item, float(time))
    earlier = sorted((t, row, i) for row, (u, i, t) in enumerate(choices) if u == user and t < time)
    assert items.tolist() == [i for _, _, i in earlier]
    assert chosen.all()
    assert len(known.before(user, item, None)[0]) == sum(u == user for u, _, _ in choices)


def test_without_times_all_other_items_are_the_history() -> None:
    known = interactions([(1, 1, 0), (1, 2, 0), (2, 3, 0)], has_times=False)
    assert known.before(1, 1, None)[0].tolist() == [2]
    assert known.before(1, 0, None)[0].tolist() == [1, 2], "a row without an item asks for any"
    assert known.before(0, 1, None)[0].tolist() == []


def test_recent_counts_are_of_the_last_tenth() -> None:
    known = interactions([(1, 1, time) for time in range(90)] + [(1, 2, 100 + time) for time in range(10)])
    assert known.item_counts.tolist() == [0, 90, 10, 0, 0, 0]
    assert known.recent_counts.tolist() == [0, 0, 10, 0, 0, 0]


def test_what_is_no_choice_is_known_and_counts_for_nothing() -> None:
    users, items = np.array([1, 1, 2]), np.array([1, 2, 2])
    chosen = np.array([True, False, True])
    known = Interactions.of(["a", "b"], ["v", "w"], users, items, np.arange(3.0), chosen)
    assert known.item_counts.tolist() == [0, 1, 1]
    items_known = known.before(1, 0, None)
    assert items_known[0].tolist() == [1, 2]
    assert items_known[1].tolist() == [True, False]


def test_later_interactions_leave_users_their_numbers() -> None:
    known = interactions([(2, 1, 5), (1, 2, 3)])
    later = known.extended(["c", "new", "a"], np.array([3, 4, 5]), np.array([7.0, 8.0, 9.0]), np.ones(3, dtype=bool))
    assert later.user_numbers == {"a": 1, "b": 2, "c": 3, "new": 4}
    assert later.before(1, 0, None)[0].tolist() == [2, 5]
    assert later.before(2, 0, None)[0].tolist() == [1]
    assert later.before(4, 0, None)[0].tolist() == [4]
    assert known.before(1, 0, None)[0].tolist() == [2]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    known = interactions([(1, 1, 3), (1, 2, 1), (3, 5, 2)])
    known.write(tmp_path)
    again = Interactions.read(tmp_path)
    assert again.user_numbers == known.user_numbers
    assert again.before(1, 2, 9.0)[0].tolist() == known.before(1, 2, 9.0)[0].tolist() == [2, 1]
    (tmp_path / "keys.json").write_text('{"users": ["a"], "items": ["v"]}', encoding="utf-8")
    with pytest.raises(ValueError, match="do not fit"):
        Interactions.read(tmp_path)

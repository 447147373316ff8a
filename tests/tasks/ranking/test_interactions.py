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
    return Interactions.of(
        ["a", "b", "c"], list("vwxyz"), users, items, times.astype(float) if has_times else None
    )  # fmt: skip


@given(Choices, st.integers(1, 3), st.integers(0, 5), st.integers(-1, 7))
def test_a_row_knows_what_its_user_chose_strictly_before(
    choices: list[tuple[int, int, int]], user: int, item: int, time: int
) -> None:
    known = interactions(choices)
    items = known.before(user, item, float(time))
    earlier = sorted((t, row, i) for row, (u, i, t) in enumerate(choices) if u == user and t < time)
    assert items.tolist() == [i for _, _, i in earlier]
    assert len(known.before(user, item, None)) == sum(u == user for u, _, _ in choices)


def test_without_times_all_other_items_are_the_history() -> None:
    known = interactions([(1, 1, 0), (1, 2, 0), (2, 3, 0)], has_times=False)
    assert known.before(1, 1, None).tolist() == [2]
    assert known.before(1, 0, None).tolist() == [1, 2], "a row without an item asks for any"
    assert known.before(0, 1, None).tolist() == []


def test_recent_counts_are_of_the_last_tenth() -> None:
    known = interactions([(1, 1, time) for time in range(90)] + [(1, 2, 100 + time) for time in range(10)])
    assert known.item_counts.tolist() == [0, 90, 10, 0, 0, 0]
    assert known.recent_counts.tolist() == [0, 0, 10, 0, 0, 0]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    known = interactions([(1, 1, 3), (1, 2, 1), (3, 5, 2)])
    known.write(tmp_path)
    again = Interactions.read(tmp_path)
    assert again.user_numbers == known.user_numbers
    assert again.before(1, 2, 9.0).tolist() == known.before(1, 2, 9.0).tolist() == [2, 1]
    (tmp_path / "keys.json").write_text('{"users": ["a"], "items": ["v"]}', encoding="utf-8")
    with pytest.raises(ValueError, match="do not fit"):
        Interactions.read(tmp_path)

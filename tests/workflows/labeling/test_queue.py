from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.workflows.labeling.queue import LEASE_SECONDS, Queue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def queue(num_rows: int = 40, clock: Clock | None = None, **settings: object) -> Queue:
    keys = [f"key {row}" for row in range(num_rows)]
    return Queue(keys, np.ones(num_rows, dtype=bool), clock or Clock(), **{"shared": 0.0, **settings})  # type: ignore[arg-type]


def all_of(rows: Queue, annotator: str = "ann") -> list[int]:
    order = []
    while (row := rows.next(annotator, "tab")) is not None:
        order.append(row)
        rows.note(row, [(annotator, False)], is_settled=False)
    return order


def test_every_row_comes_once_and_some_of_the_first_are_held_out() -> None:
    rows = queue(500)
    order = all_of(rows)
    assert sorted(order) == list(range(500))
    assert order != sorted(order)
    assert order == all_of(queue(500))
    assert order != all_of(queue(500, seed=1))
    assert 0.15 < rows.is_held_out.mean() < 0.25
    assert 15 <= rows.is_held_out[order[:100]].sum() <= 20


def test_held_out_rows_are_the_same_whatever_the_tables_order() -> None:
    keys = [f"key {row}" for row in range(200)]
    first = Queue(keys, np.ones(200, dtype=bool), Clock())
    second = Queue(keys[::-1], np.ones(200, dtype=bool), Clock())
    assert first.is_held_out.tolist() == second.is_held_out[::-1].tolist()


def test_two_tabs_get_different_rows_until_a_lease_ends() -> None:
    clock = Clock()
    rows = queue(3, clock)
    first, second, third = (rows.next("ann", tab) for tab in ("one", "two", "three"))
    assert {first, second, third} == {0, 1, 2}
    assert rows.next("ann", "four") is None
    clock.now = LEASE_SECONDS + 1
    assert rows.next("ann", "four") is not None


def test_suggested_rows_come_first_and_held_out_ones_are_never_suggested() -> None:
    rows = queue(100)
    pool, held_out = np.flatnonzero(~rows.is_held_out), np.flatnonzero(rows.is_held_out)
    rows.suggest(np.concatenate([held_out, pool[::-1]]))
    order = all_of(rows)
    assert [row for row in order if not rows.is_held_out[row]] == pool[::-1].tolist()


def test_shared_rows_go_to_everybody_and_others_to_one() -> None:
    rows = queue(60, shared=1.0)
    order = []
    for row in range(60):
        rows.note(row, [("ann", False)], is_settled=False)
    rows.waiting("bob")  # is known from here on
    while (row := rows.next("bob", "tab")) is not None:
        order.append(row)
        rows.note(row, [("ann", False), ("bob", False)], is_settled=False)
    assert sorted(order) == list(range(60))
    alone = queue(60, shared=0.0)
    for row in range(60):
        alone.note(row, [("ann", False)], is_settled=False)
    assert alone.next("bob", "tab") is None


def test_skipped_rows_come_last() -> None:
    rows = queue(3)
    rows.note(1, [("ann", True)], is_settled=False)
    order = [rows.next("ann", "tab", lambda: [1])]
    rows.note(order[0], [("ann", False)], is_settled=False)
    order.append(rows.next("ann", "tab", lambda: [1]))
    rows.note(order[1], [("ann", False)], is_settled=False)
    assert rows.next("ann", "tab", lambda: [1]) == 1
    assert 1 not in order


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["t1", "t2", "t3"]), st.booleans()), max_size=60))
def test_no_two_tabs_hold_one_row(turns: list[tuple[str, str, bool]]) -> None:
    rows, held = queue(12, shared=0.3), dict[str, int]()
    done: dict[int, set[str]] = {}
    for annotator, tab, decides in turns:
        held.pop(tab, None)
        row = rows.next(annotator, tab)
        if row is None:
            continue
        assert row not in held.values()
        assert annotator not in done.get(row, ())
        held[tab] = row
        if decides:
            done.setdefault(row, set()).add(annotator)
            rows.note(row, [(name, False) for name in done[row]], is_settled=False)

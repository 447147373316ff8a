"""Positions read in processes of this machine: in order, whatever they are and in whichever lists."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.executors.base import lists_of
from polysense.data.executors.local import LocalExecutor


class Squares:
    def __init__(self) -> None:
        self.calls: list[Sequence[int]] = []

    def __len__(self) -> int:
        return 1000

    def __getitems__(self, indices: Sequence[int]) -> list[int]:
        self.calls.append(indices)
        return [index * index for index in indices]


@given(st.lists(st.integers(0, 999), max_size=30) | st.builds(range, st.integers(0, 30)), st.integers(1, 9))
def test_positions_come_back_in_order(positions: Sequence[int], at_once: int) -> None:
    source = Squares()
    with LocalExecutor(0) as executor:
        assert list(executor.read(source, positions, at_once)) == [index * index for index in positions]
    assert [index for call in source.calls for index in call] == list(positions)
    assert all(1 <= len(call) <= at_once for call in source.calls)
    assert all(len(each) == at_once for each in lists_of(positions, at_once)[:-1])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_processes_change_nothing(num_workers: int) -> None:
    with LocalExecutor(num_workers) as executor:
        assert list(executor.read(Squares(), range(20), 3)) == [index * index for index in range(20)]

"""Items in groups by length: each in one, none cut, and at prediction a function of the item alone."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.item_groups import blocks_of_items, groups_of_items, padded_lengths

LENGTHS = st.lists(st.integers(0, 100), min_size=1, max_size=40)


def test_lengths_halve_and_keep_to_the_multiple() -> None:
    assert padded_lengths(64, 8) == [8, 16, 32, 64]
    assert padded_lengths(200, 8) == [32, 56, 104, 200]
    assert padded_lengths(8, 8) == [8]
    assert padded_lengths(10, 8) == [8, 10]
    assert padded_lengths(1, None) == [1]


@given(LENGTHS, st.sampled_from([1.0, 100.0]))
def test_every_present_item_is_in_one_group_that_holds_it(lengths: list[int], cost: float) -> None:
    each = torch.tensor(lengths)
    groups = groups_of_items(each, 104, 8, cost=cost)
    assert (
        sorted(torch.cat([group.items for group in groups]).tolist() if groups else []) == each.nonzero()[:, 0].tolist()
    )
    for group in groups:
        assert len(group.items)
        assert group.num_absent == 0
        assert int(each[group.items].max()) <= group.length <= 104


def test_a_group_that_saves_little_is_joined_with_the_next() -> None:
    short, long = [5] * 10, [100] * 10
    (one,) = groups_of_items(torch.tensor(short[:2] + long), 104, 8)
    assert (len(one.items), one.length) == (12, 104)
    first, second = groups_of_items(torch.tensor(short + long), 104, 8)
    assert (first.items.tolist(), first.length) == (list(range(10)), 16)
    assert (second.items.tolist(), second.length) == (list(range(10, 20)), 104)
    # Nothing is saved where no item is longer.
    (one,) = groups_of_items(torch.tensor(short * 100), 104, 8)
    assert one.length == 16


def test_items_without_a_length_are_one_group() -> None:
    (one,) = groups_of_items(torch.tensor([1, 0, 1, 1]), 1, None)
    assert one.items.tolist() == [0, 2, 3]


@given(LENGTHS, st.integers(0, 100))
def test_blocks_have_one_size_and_an_items_length_is_its_own(lengths: list[int], other: int) -> None:
    def placed(lengths: list[int]) -> dict[int, int]:
        groups = blocks_of_items(torch.tensor(lengths), 104, 8, block=8)
        assert all(len(group.items) + group.num_absent == 8 for group in groups)
        return {int(item): group.length for group in groups for item in group.items}

    before = placed(lengths)
    assert sorted(before) == [i for i, length in enumerate(lengths) if length]
    assert all(lengths[i] <= length for i, length in before.items())
    after = placed([*lengths, other])
    assert {i: length for i, length in after.items() if i < len(lengths)} == before

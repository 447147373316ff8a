"""Averaged neighbors: means by hand, items apart from one another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.nn.layers.averaged import averaged


def test_neighbors_become_their_mean() -> None:
    x = torch.tensor([[1.0, 3.0, 5.0, 7.0, 10.0, 99.0], [1.0, 2.0, 3.0, 9.0, 9.0, 9.0]])[:, :, None]
    mask = torch.tensor([[True] * 5 + [False], [True] * 3 + [False] * 3])
    values, valid = averaged(x, mask, 3)
    assert valid.tolist() == [[True] * 3, [True] * 3]
    assert values[0, :, 0].tolist() == [2.0, 6.0, 10.0]  # two by two, the last alone
    assert values[1, :, 0].tolist() == [1.0, 2.0, 3.0]  # few enough: as they are


def test_few_tokens_stay() -> None:
    x, mask = torch.randn(2, 4, 3), torch.tensor([[True] * 4, [True, False, False, False]])
    values, valid = averaged(x, mask, 4)
    assert values is x
    assert valid is mask


def test_absent_items_have_none() -> None:
    values, valid = averaged(torch.full((1, 9, 2), float("nan")), torch.zeros(1, 9, dtype=torch.bool), 4)
    assert not valid.any()
    assert torch.equal(values, torch.zeros(1, 4, 2))


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5), most=st.integers(1, 12), seed=st.integers(0, 99))
def test_items_depend_on_themselves_alone(lengths: list[int], most: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    longest = max(*lengths, 1)
    x = torch.randn(len(lengths), longest, 3, generator=draws)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    values, valid = averaged(x, mask, most)
    assert valid.shape[1] == min(longest, most)
    for row, length in enumerate(lengths):
        size = max(-(-length // most), 1)
        assert int(valid[row].sum()) == -(-length // size)
        alone, kept = averaged(x[row : row + 1, : max(length, 1)], mask[row : row + 1, : max(length, 1)], most)
        assert torch.equal(values[row][valid[row]], alone[0][kept[0]])
        for place in range(int(valid[row].sum())):
            expected = x[row, place * size : min((place + 1) * size, length)].mean(dim=0)
            assert values[row, place].tolist() == pytest.approx(expected.tolist(), abs=1e-5)

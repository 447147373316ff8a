from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from polysense.core.tokens import Fused, FusedColumn, Tokens


def make(batch: int = 2, grid: tuple[int, ...] = (2, 3), width: int = 4, seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    length = torch.Size(grid).numel()
    values = torch.randn(batch, length, width, generator=generator)
    return Tokens(values, torch.rand(batch, length, generator=generator) > 0.5, grid)


def test_a_wrong_shape_is_refused() -> None:
    values, mask = torch.zeros(2, 6, 4), torch.ones(2, 6, dtype=torch.bool)
    # With the tests' shape checks switched off it is the class's own assertion, else theirs.
    with pytest.raises((AssertionError, TypeError)):
        Tokens(values[0], mask, (6,))
    with pytest.raises((AssertionError, TypeError)):
        Tokens(values, mask[:, :5], (6,))
    with pytest.raises((AssertionError, TypeError)):
        Tokens(values, mask.float(), (6,))
    with pytest.raises(AssertionError, match="does not unfold 6"):
        Tokens(values, mask, (2, 4))


@pytest.mark.skipif(
    os.environ.get("POLYSENSE_TYPECHECK") == "0",
    reason="POLYSENSE_TYPECHECK=0 switches off what this is about",
)
def test_the_shapes_in_signatures_are_checked_in_tests() -> None:
    with pytest.raises(TypeError, match=r"parameter '?keep"):
        make().masked(torch.ones(2, 1, dtype=torch.bool))


@given(st.integers(0, 4), st.sampled_from([(3,), (2, 3), (2, 2, 2)]), st.integers(1, 3), st.integers(0, 99))
def test_the_mean_is_over_valid_tokens(batch: int, grid: tuple[int, ...], width: int, seed: int) -> None:
    tokens = make(batch, grid, width, seed)
    for row, mean in enumerate(tokens.mean()):
        valid = tokens.values[row][tokens.mask[row]]
        expected = valid.mean(dim=0) if len(valid) else torch.zeros(width)
        torch.testing.assert_close(mean, expected)
    assert tokens.present.tolist() == [bool(row.any()) for row in tokens.mask]


def test_padding_does_not_reach_the_mean() -> None:
    tokens = make()
    noisy = Tokens(torch.where(tokens.mask[..., None], tokens.values, torch.tensor(1e6)), tokens.mask, tokens.grid)
    torch.testing.assert_close(noisy.mean(), tokens.mean())


def test_masked_takes_a_row_away_and_gives_none_back() -> None:
    tokens = Tokens(torch.ones(3, 2, 1), torch.tensor([[True, False], [True, True], [False, False]]), (2,))
    retained = tokens.masked(torch.tensor([True, False, True]))
    assert retained.mask.tolist() == [[True, False], [False, False], [False, False]]
    assert retained.present.tolist() == [True, False, False]
    assert retained.values[1].tolist() == [[0.0], [0.0]]
    assert tokens.mask.tolist()[1] == [True, True]


def test_cleared_tokens_are_zero_where_masked_at_every_level() -> None:
    coarse = Tokens(torch.full((1, 1, 1), torch.nan), torch.tensor([[False]]), (1,))
    tokens = Tokens(torch.full((1, 2, 1), torch.inf), torch.tensor([[True, False]]), (2,), (coarse,))
    cleared = tokens.cleared()
    assert cleared.values.flatten().tolist() == [torch.inf, 0.0]
    assert cleared.pyramid[0].values.flatten().tolist() == [0.0]


def test_tokens_are_a_pytree() -> None:
    tokens = make()
    leaves, spec = pytree.tree_flatten(tokens)
    assert [leaf is part for leaf, part in zip(leaves, (tokens.values, tokens.mask, None), strict=True)] == [True] * 3
    back = pytree.tree_unflatten(leaves, spec)
    assert back.values is tokens.values
    assert back.grid == (2, 3)
    doubled = pytree.tree_map(
        lambda leaf: leaf * 2 if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf, {"a": [tokens]}
    )["a"][0]
    assert isinstance(doubled, Tokens)
    torch.testing.assert_close(doubled.values, tokens.values * 2)
    assert torch.equal(doubled.mask, tokens.mask)


def column(seed: int = 0, grid: tuple[int, ...] = (2, 3)) -> FusedColumn:
    tokens = make(grid=grid, seed=seed)
    return FusedColumn(tokens, torch.ones(2, 4), tokens.present, torch.ones(2, 1, dtype=torch.int64))


def test_fused_is_a_pytree_and_keeps_names_with_dots() -> None:
    fused = Fused(
        torch.zeros(2, 4),
        {"left.eye": column(), "note: text": column(1, (2,))},
        {"items": Fused(torch.zeros(5, 4), {})},
    )
    moved = pytree.tree_map(lambda leaf: leaf + 1 if leaf is not None and leaf.is_floating_point() else leaf, fused)
    assert isinstance(moved, Fused)
    assert list(moved.columns) == ["left.eye", "note: text"]
    assert moved.columns["left.eye"].tokens.grid == (2, 3)
    assert torch.equal(moved.pooled, torch.ones(2, 4))
    assert torch.equal(moved.related["items"].pooled, torch.ones(5, 4))
    assert torch.equal(moved.columns["note: text"].summary, torch.full((2, 4), 2.0))
    assert torch.equal(moved.columns["note: text"].lengths, fused.columns["note: text"].lengths)


def test_joined_tokens_know_where_in_their_own_column_they_stand() -> None:
    fused = Fused(torch.zeros(2, 4), {"a": column(), "b": column(1, (2,))})
    joined = fused.joined()
    assert joined.grid == (8,)
    assert torch.equal(joined.values[:, 6:], fused.columns["b"].tokens.values)
    assert fused.positions().tolist() == [0, 1, 2, 3, 4, 5, 0, 1]


def test_a_column_alone_is_its_summary_and_its_tokens() -> None:
    fused = Fused(torch.zeros(2, 4), {"a": column(), "b": column(1)})
    alone = fused.unimodal("b")
    assert torch.equal(alone.pooled, fused.columns["b"].summary)
    assert list(alone.columns) == ["b"]

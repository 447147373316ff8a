"""Recurrent fusion: columns aligned in time, side by side, through an RNN."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.recurrent import RecurrentFusion, RecurrentFusionConfig


def column(lengths: list[int], padded: int, seed: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    return Tokens(torch.randn(len(lengths), padded, 8, generator=generator), mask, (padded,))


def by_hand(fusion: RecurrentFusion, columns: dict[str, Tokens], row: int, max_steps: int = 64) -> torch.Tensor:
    """One row at a time: torch's adaptive average pooling to the longest column's length, a sum, an RNN, a mean."""
    valid = {name: t.values[row, t.mask[row]] for name, t in columns.items()}
    steps = min(max(len(values) for values in valid.values()), max_steps)
    x = fusion.bias.expand(steps, 8)
    for project, values in zip(fusion.project, valid.values(), strict=True):
        if len(values):
            x = x + F.adaptive_avg_pool1d(project(values).T, steps).T
    return fusion.out(fusion.recurrent(x[None], torch.tensor([steps]))[0]).mean(dim=0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_it_is_an_rnn_over_the_columns_side_by_side(cell: Literal["gru", "lstm"]) -> None:
    torch.manual_seed(0)
    fusion = RecurrentFusionConfig(cell=cell, num_layers=2).build("abc", 8).eval()
    layers = [*fusion.recurrent.forwards, *fusion.recurrent.backwards]
    assert [type(layer) for layer in layers] == [nn.GRU if cell == "gru" else nn.LSTM] * 4
    columns = {
        "a": column([7, 3, 0, 5], 9, seed=1),
        "b": column([7, 5, 4, 1], 7, seed=2),
        "c": column([1, 1, 1, 0], 1, seed=3),
    }
    pooled = fusion(columns).pooled
    for row in range(4):
        torch.testing.assert_close(pooled[row], by_hand(fusion, columns, row), atol=1e-6, rtol=1e-5)


def test_a_sum_of_projections_is_one_matrix_over_the_concatenated_features() -> None:
    torch.manual_seed(0)
    fusion = RecurrentFusionConfig().build("ab", 8).eval()
    columns = {"a": column([4, 4], 4, seed=1), "b": column([4, 4], 4, seed=2)}
    features = torch.cat([fusion.project[i][0](columns[n].values) for i, n in enumerate("ab")], dim=-1)
    matrix = torch.cat([fusion.project[i][1].weight for i in range(2)], dim=1)
    states = fusion.recurrent(F.linear(features, matrix, fusion.bias), torch.tensor([4, 4]))
    expected = fusion.out(states).mean(dim=1)
    torch.testing.assert_close(fusion(columns).pooled, expected, atol=1e-6, rtol=1e-5)


def test_long_sequences_are_averaged_down_and_not_cut() -> None:
    torch.manual_seed(0)
    fusion = RecurrentFusionConfig(max_steps=4).build("ab", 8).eval()
    columns = {"a": column([11, 3], 11, seed=1), "b": column([2, 9], 9, seed=2)}
    pooled = fusion(columns).pooled
    for row in range(2):
        torch.testing.assert_close(pooled[row], by_hand(fusion, columns, row, max_steps=4), atol=1e-6, rtol=1e-5)
    # Every token counts, the last one too.
    for place in range(11):
        values = columns["a"].values.clone()
        values[0, place] += torch.randn(8)
        changed = fusion(columns | {"a": Tokens(values, columns["a"].mask, (11,))}).pooled
        assert (changed[0] - pooled[0]).abs().amax() > 1e-5, place


def test_holes_in_a_mask_take_no_time() -> None:
    """The padding between the items of a list is no step."""
    torch.manual_seed(0)
    fusion = RecurrentFusionConfig().build("ab", 8).eval()
    dense, other = column([3], 3, seed=1), column([4], 4, seed=2)
    holes = Tokens(torch.randn(1, 6, 8), torch.tensor([[1, 0, 1, 0, 0, 1]]).bool(), (2, 3))
    holes.values[0, [0, 2, 5]] = dense.values[0]
    one, two = fusion({"a": dense, "b": other}), fusion({"a": holes, "b": other})
    torch.testing.assert_close(one.pooled, two.pooled, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(one.joined().values[0, :3], two.joined().values[0, [0, 2, 5]], atol=1e-6, rtol=1e-6)


def test_order_counts_and_both_directions_reach_the_tokens() -> None:
    torch.manual_seed(0)
    fusion = RecurrentFusionConfig().build("ab", 8).eval()
    columns: dict[str, Any] = {"a": column([5], 5, seed=1), "b": column([5], 5, seed=2)}
    turned = columns | {"a": Tokens(columns["a"].values.flip(1), columns["a"].mask, (5,))}
    assert (fusion(columns).pooled - fusion(turned).pooled).abs().amax() > 1e-3
    values = columns["b"].values.clone().requires_grad_()
    fused = fusion(columns | {"b": Tokens(values, columns["b"].mask, (5,))})
    # The middle token of a hears b before and after it.
    (gradient,) = torch.autograd.grad(fused.joined().values[0, 2].sum(), values)
    assert (gradient.abs().sum(dim=2) > 0).all()


def test_fewer_than_one_step_or_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_steps.*found 0"):
        RecurrentFusionConfig(max_steps=0)
    with pytest.raises(ConfigError, match=r"num_layers.*found 0"):
        RecurrentFusionConfig(num_layers=0)

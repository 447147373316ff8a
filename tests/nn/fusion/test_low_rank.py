"""Low-rank fusion: tensor fusion with a factorized weight."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.low_rank import LowRankFusionConfig
from polysense.nn.fusion.tensor import TensorFusionConfig


def tokens(names: str, batch: int = 5, width: int = 8) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: Tokens(torch.randn(batch, 2, width, generator=generator), torch.ones(batch, 2, dtype=torch.bool), (2,))
        for name in names
    }


def test_it_is_a_weighted_sum_of_products_of_factors() -> None:
    torch.manual_seed(0)
    fusion = LowRankFusionConfig(rank=3).build("abc", 8).eval()
    fused = fusion(tokens("abc"))
    expected = fusion.bias.expand(5, 8)
    for rank in range(3):
        product = torch.ones(5, 8)
        for index, name in enumerate("abc"):
            product = product * (F.pad(fused.columns[name].summary, (0, 1), value=1.0) @ fusion.factors[index, rank])
        expected = expected + fusion.rank_weights[rank] * product
    torch.testing.assert_close(fused.pooled, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_full_rank_equals_tensor_fusion(names: str) -> None:
    """Any weight tensor is a sum of one outer product of unit vectors per entry: W = sum_i W[i] e_i1 x ... x e_iM."""
    torch.manual_seed(0)
    width = 3
    tensor = TensorFusionConfig(dim=width).build(names, width).eval()
    entries = list(itertools.product(range(width + 1), repeat=len(names)))
    low_rank = LowRankFusionConfig(rank=len(entries)).build(names, width).eval()
    with torch.no_grad():
        tensor.out.bias.normal_()
        # [x; 1] -> [z; 1], the affine projection before the outer product.
        lifts = []
        for project in tensor.project:
            project.bias.normal_()
            affine = torch.cat([project.weight.T, project.bias[None]])
            lifts.append(torch.cat([affine, F.pad(torch.ones(1, 1), (0, 0, width, 0))], dim=1))
        low_rank.rank_weights.fill_(1.0)
        low_rank.bias.copy_(tensor.out.bias)
        for rank, entry in enumerate(entries):
            for index, feature in enumerate(entry):
                # The same for every output; the entry's own weight, per output, goes into the first column's factor.
                scale = tensor.out.weight[:, rank] if index == 0 else torch.ones(width)
                low_rank.factors[index, rank] = lifts[index][:, feature, None] * scale
    columns = tokens(names, width=width)
    torch.testing.assert_close(low_rank(columns).pooled, tensor(columns).pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_columns", [2, 3, 4, 5, 6])
def test_every_factor_gets_a_gradient(num_columns: int) -> None:
    names = "abcdef"[:num_columns]
    fusion = LowRankFusionConfig(rank=3).build(names, 16)
    assert "factors" in dict(fusion.named_parameters())
    fusion(tokens(names, width=16)).pooled.square().sum().backward()
    per_factor = fusion.factors.grad.abs().sum(dim=(2, 3))
    assert per_factor.shape == (num_columns, 3)
    assert (per_factor > 0).all()
    # Of one size: no column's gradient vanishes beside another's.
    assert per_factor.amax() < 10 * per_factor.amin()


@pytest.mark.parametrize("num_columns", [1, 2, 3, 4, 5, 6])
def test_products_neither_vanish_nor_explode(num_columns: int) -> None:
    torch.manual_seed(0)
    names = "abcdef"[:num_columns]
    fusion = LowRankFusionConfig(rank=16).build(names, 128).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = fusion(tokens(names, batch=64, width=128)).pooled
    assert pooled.dtype == torch.float32
    # What varies from row to row, not the constant.
    assert 0.3 < pooled.std(dim=0).mean() < 3


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rank.*found 0"):
        LowRankFusionConfig(rank=0)

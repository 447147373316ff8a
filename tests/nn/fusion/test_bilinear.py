"""Low-rank bilinear fusion: linear terms and a product per pair of columns."""

from __future__ import annotations

import itertools

import pytest
import torch

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.bilinear import BilinearFusionConfig


def tokens(names: str = "abcd") -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: Tokens(torch.randn(5, 2, 8, generator=generator), torch.ones(5, 2, dtype=torch.bool), (2,))
        for name in names
    }


@pytest.mark.parametrize("present", ["abcd", "acd", "bd", "c"])
def test_it_is_the_sum_over_the_pairs_that_are_present(present: str) -> None:
    torch.manual_seed(0)
    fusion = BilinearFusionConfig(rank=6).build("abcd", 8).eval()
    columns = {
        name: column if name in present else column.masked(torch.zeros(5, dtype=torch.bool))
        for name, column in tokens().items()
    }
    fused = fusion(columns)
    x = {name: (index, fused.columns[name].summary) for index, name in enumerate("abcd") if name in present}
    expected = sum(fusion.linear[index](value) for index, value in x.values()) + fusion.out.bias
    for (m, x_m), (n, x_n) in itertools.combinations(x.values(), 2):
        expected = expected + (fusion.factor[m](x_m).tanh() * fusion.factor[n](x_n).tanh()) @ fusion.out.weight.T
    torch.testing.assert_close(fused.pooled, expected, atol=1e-6, rtol=1e-6)


def test_three_columns_at_once_do_not_interact() -> None:
    """The limit that the docstring states: third-order differences vanish."""
    torch.manual_seed(0)
    fusion = BilinearFusionConfig().build("abc", 8).eval()
    columns = tokens("abc")
    total = torch.zeros(5, 8)
    for retained in itertools.product([False, True], repeat=3):
        masked = {
            name: column.masked(torch.full((5,), keep))
            for (name, column), keep in zip(columns.items(), retained, strict=True)
        }
        # The method's own value where nothing is present, not the learned summary that stands for it.
        pooled = fusion(masked).pooled if any(retained) else fusion.out.bias
        total = total + pooled * (-1) ** (3 - sum(retained))
    torch.testing.assert_close(total, torch.zeros(5, 8), atol=1e-5, rtol=0)


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rank.*found 0"):
        BilinearFusionConfig(rank=0)

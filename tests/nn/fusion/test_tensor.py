"""Tensor fusion: an outer product, with a constant 1 per column."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.tensor import MAX_ENTRIES, TensorFusionConfig


def tokens(names: str, batch: int = 5, width: int = 8) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: Tokens(torch.randn(batch, 2, width, generator=generator), torch.ones(batch, 2, dtype=torch.bool), (2,))
        for name in names
    }


def test_it_is_one_matrix_over_the_outer_product() -> None:
    torch.manual_seed(0)
    fusion = TensorFusionConfig(dim=3).build("abc", 8).eval()
    fused = fusion(tokens("abc"))
    a, b, c = (F.pad(fusion.project[i](fused.columns[n].summary), (0, 1), value=1.0) for i, n in enumerate("abc"))
    weight = fusion.out.weight.view(8, 4, 4, 4)
    expected = torch.einsum("oijk,bi,bj,bk->bo", weight, a, b, c) + fusion.out.bias
    torch.testing.assert_close(fused.pooled, expected, atol=1e-6, rtol=1e-6)


def test_an_absent_column_leaves_the_slice_at_its_constant() -> None:
    torch.manual_seed(0)
    fusion = TensorFusionConfig(dim=3).build("abc", 8).eval()
    columns = tokens("abc")
    columns["b"] = columns["b"].masked(torch.zeros(5, dtype=torch.bool))
    fused = fusion(columns)
    a, c = (F.pad(fusion.project[i](fused.columns[n].summary), (0, 1), value=1.0) for i, n in ((0, "a"), (2, "c")))
    slice_at_one = fusion.out.weight.view(8, 4, 4, 4)[:, :, 3]
    expected = torch.einsum("oik,bi,bk->bo", slice_at_one, a, c) + fusion.out.bias
    torch.testing.assert_close(fused.pooled, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("num_columns", [1, 2, 3, 4, 5])
def test_its_result_has_the_same_size_for_any_number_of_columns(num_columns: int) -> None:
    torch.manual_seed(0)
    names = "abcde"[:num_columns]
    fusion = TensorFusionConfig(dim=4).build(names, 64).eval()
    assert 0.5 < fusion(tokens(names, batch=64, width=64)).pooled.std() < 2


def test_an_outer_product_that_is_too_large_says_by_how_much() -> None:
    with pytest.raises(
        ConfigError, match=r"6 columns of 8 \+ 1 features has 531,441 entries; the limit is 100,000"
    ) as e:
        TensorFusionConfig().build("abcdef", 8)
    assert "model.fusion.dim to 5 or less" in str(e.value)
    assert 6**6 <= MAX_ENTRIES < 7**6
    TensorFusionConfig(dim=5).build("abcdef", 8)
    with pytest.raises(ConfigError, match=r"To mend it, choose the fusion 'low_rank'"):
        TensorFusionConfig(dim=1).build([str(number) for number in range(17)], 8)
    with pytest.raises(ConfigError, match=r"dim.*found 0"):
        TensorFusionConfig(dim=0)

"""Sum: additive over the columns' normalized means."""

from __future__ import annotations

import torch

from polysense.core.tokens import Tokens
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.sum import SumFusionConfig


def tokens(scales: tuple[float, ...] = (1.0, 1.0, 1.0)) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: Tokens(torch.randn(4, 3, 8, generator=generator) * scale, torch.ones(4, 3, dtype=torch.bool), (3,))
        for name, scale in zip("abc", scales, strict=True)
    }


def absent(column: Tokens) -> Tokens:
    return column.masked(torch.zeros(4, dtype=torch.bool))


def test_it_is_concatenation_with_the_matrix_cut_into_blocks() -> None:
    fusion, concat = SumFusionConfig().build("abc", 8).eval(), ConcatFusionConfig().build("abc", 8).eval()
    with torch.no_grad():
        concat.project.weight.copy_(torch.cat([project.weight for project in fusion.project], dim=1))
        concat.project.bias.copy_(fusion.bias)
    torch.testing.assert_close(fusion(tokens()).pooled, concat(tokens()).pooled, atol=1e-6, rtol=1e-6)


def test_it_is_additive() -> None:
    fusion = SumFusionConfig().build("abc", 8).eval()
    columns = tokens()
    alone = [fusion({n: t if n == name else absent(t) for n, t in columns.items()}).pooled for name in columns]
    expected = sum(alone) - 2 * fusion.bias
    torch.testing.assert_close(fusion(columns).pooled, expected, atol=1e-6, rtol=1e-6)


def test_a_columns_scale_does_not_count() -> None:
    """Each branch is normalized first, so that the largest norm does not dominate."""
    fusion = SumFusionConfig().build("abc", 8).eval()
    torch.testing.assert_close(
        fusion(tokens((1.0, 1.0, 1.0))).pooled, fusion(tokens((1.0, 1000.0, 1.0))).pooled, atol=1e-3, rtol=1e-3
    )


def test_the_mean_divides_by_what_is_present() -> None:
    total, mean = SumFusionConfig().build("abc", 8).eval(), SumFusionConfig(mean=True).build("abc", 8).eval()
    mean.load_state_dict(total.state_dict())
    columns = tokens()
    columns["b"] = columns["b"].masked(torch.tensor([True, True, False, False]))
    count = torch.tensor([3.0, 3.0, 2.0, 2.0])[:, None]
    torch.testing.assert_close(mean(columns).pooled, total(columns).pooled / count)

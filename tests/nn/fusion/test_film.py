"""FiLM: gamma(c) * h + beta(c), the identity at the start and without a condition."""

from __future__ import annotations

import pytest
import torch
from head_helpers import spans
from torch.nn import functional as F

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.film import FilmFusion, FilmFusionConfig


def tokens(seed: int = 0) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: Tokens(torch.randn(5, length, 8, generator=generator), torch.ones(5, length, dtype=torch.bool), (length,))
        for name, length in (("a", 3), ("b", 4), ("c", 2))
    }


def trained(config: FilmFusionConfig, columns: str = "abc") -> FilmFusion:
    torch.manual_seed(0)
    fusion = config.build(columns, 8).eval()
    with torch.no_grad():
        for parameter in fusion.modulation.parameters():
            parameter.normal_(std=0.3)
    return fusion


def absent(column: Tokens) -> Tokens:
    return column.masked(torch.zeros(5, dtype=torch.bool))


def features(fusion: FilmFusion, index: int, column: Tokens) -> torch.Tensor:
    return F.layer_norm(fusion.features[index](column.values), (8,))


@pytest.mark.parametrize(("condition", "place", "others"), [(None, 2, [0, 1]), ("b", 1, [0, 2])])
def test_the_condition_scales_and_shifts_every_other_columns_features(
    condition: str | None, place: int, others: list[int]
) -> None:
    fusion, columns = trained(FilmFusionConfig(condition=condition)), tokens()
    fused = fusion(columns)
    c = fused.columns["abc"[place]].summary
    expected = fusion.bias.expand(5, 8)
    for index, name in enumerate("abc"):
        values = features(fusion, index, columns[name])
        if index != place:
            gamma, beta = fusion.modulation[others.index(index)](c).chunk(2, dim=-1)
            values = (1 + gamma)[:, None] * values + beta[:, None]
        first, last = spans(fused)[name]
        torch.testing.assert_close(fused.joined().values[:, first:last], values, atol=1e-6, rtol=1e-6)
        expected = expected + fusion.out[index](values.relu().mean(dim=1))
    torch.testing.assert_close(fused.pooled, expected, atol=1e-6, rtol=1e-6)


def test_at_the_start_it_is_the_identity() -> None:
    torch.manual_seed(0)
    fusion = FilmFusionConfig().build("abc", 8).eval()
    columns = tokens()
    fused = fusion(columns)
    for index, name in enumerate("abc"):
        first, last = spans(fused)[name]
        assert torch.equal(fused.joined().values[:, first:last], features(fusion, index, columns[name]))
    # Yet it learns to modulate from the first step.
    fused.pooled.square().sum().backward()
    assert all(parameter.grad.abs().amax() > 0 for parameter in fusion.modulation.parameters())


def test_an_absent_condition_is_the_identity_too() -> None:
    fusion, columns = trained(FilmFusionConfig()), tokens()
    columns["c"] = absent(columns["c"])
    fused = fusion(columns)
    with torch.no_grad():
        for parameter in fusion.modulation.parameters():
            parameter.zero_()
    torch.testing.assert_close(fused.pooled, fusion(columns).pooled, atol=0, rtol=0)
    torch.testing.assert_close(fused.joined().values, fusion(columns).joined().values, atol=0, rtol=0)


def test_the_condition_alone_is_still_read() -> None:
    fusion = trained(FilmFusionConfig())
    one, other = ({n: t if n == "c" else absent(t) for n, t in tokens(seed).items()} for seed in (0, 1))
    assert (fusion(one).pooled - fusion(other).pooled).abs().amax() > 0.01
    assert (fusion(one).pooled - fusion.nothing).abs().amax() > 0.01


def test_the_condition_can_select_tokens() -> None:
    """One sign of gamma keeps a feature's positive tokens, the other its negative ones; rescaling a mean could not."""
    fusion, columns = trained(FilmFusionConfig()), tokens()
    values = features(fusion, 0, columns["a"])
    read = []
    for gamma in (1.0, -1.0):
        with torch.no_grad():
            for parameter in fusion.modulation.parameters():
                parameter.zero_()
            fusion.modulation[0].bias[:8] = gamma - 1
        only = columns | {"b": absent(columns["b"])}
        rest = fusion.out[2](features(fusion, 2, columns["c"]).relu().mean(dim=1)) + fusion.bias
        read.append(fusion(only).pooled - rest)
    torch.testing.assert_close(read[0], fusion.out[0](values.clamp(min=0).mean(dim=1)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(read[1], fusion.out[0](-values.clamp(max=0).mean(dim=1)), atol=1e-6, rtol=1e-5)


def test_an_unknown_condition_is_refused_and_one_column_needs_none() -> None:
    with pytest.raises(ConfigError, match=r"model.fusion.condition: no such column as 'question' among a, b"):
        FilmFusionConfig(condition="question").build("ab", 8)
    alone = FilmFusionConfig(condition="question").build("a", 8).eval()
    assert alone({"a": tokens()["a"]}).pooled.isfinite().all()

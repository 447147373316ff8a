"""A stack per ordered pair, each left out exactly where its partner is absent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_helpers import spans
from torch import Tensor

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.cross_attention import CrossAttentionFusionConfig

WIDTH = 16


def tokens(*lengths: int, batch: int = 3) -> dict[str, Tokens]:
    return {
        name: Tokens(torch.randn(batch, length, WIDTH), torch.ones(batch, length, dtype=torch.bool), (length,))
        for name, length in zip("abc", lengths, strict=False)
    }


@pytest.mark.parametrize(("names", "expected"), [("a", 0), ("ab", 2), ("abc", 6)])
def test_there_is_a_stack_per_ordered_pair(names: str, expected: int) -> None:
    fusion = CrossAttentionFusionConfig().build(names, WIDTH)
    assert sum(len(stacks) for stacks in fusion.pairs) == expected


def test_queries_come_from_one_column_keys_and_values_from_the_other_as_it_stood_at_first() -> None:
    torch.manual_seed(0)
    fusion = CrossAttentionFusionConfig(num_layers=2).build("abc", WIDTH).eval()
    calls: dict[tuple[int, int, int], tuple[Tensor, Tensor, Tensor]] = {}
    for asking, stacks in enumerate(fusion.pairs):
        for place, stack in enumerate(stacks):
            for layer, block in enumerate(stack):
                key = (asking, [i for i in range(3) if i != asking][place], layer)
                block.register_forward_pre_hook(lambda module, given, key=key: calls.update({key: given}))
    columns = tokens(3, 1, 5)
    fusion(columns)
    assert len(calls) == 12
    projected = [fusion.project[i](columns[n].values) for i, n in enumerate("abc")]
    for (asking, other, layer), (query, context, mask) in calls.items():
        # The first token is the column's summary token.
        torch.testing.assert_close(context[:, 1:], projected[other])
        assert mask.shape == context.shape[:2]
        if layer == 0:
            torch.testing.assert_close(query[:, 1:], projected[asking])


def test_a_column_alone_goes_straight_to_self_attention() -> None:
    torch.manual_seed(0)
    fusion = CrossAttentionFusionConfig(num_self_layers=2).build("ab", WIDTH).eval()
    columns = tokens(3, 4)
    columns["b"] = columns["b"].masked(torch.zeros(3, dtype=torch.bool))
    fused = fusion(columns)
    start = (fused.columns["a"].summary + fusion.summary[0])[:, None]
    x = torch.cat([start, fusion.project[0](columns["a"].values)], dim=1)
    for block in fusion.blocks[0]:
        x = block(x, torch.ones(3, 4, dtype=torch.bool))
    torch.testing.assert_close(fused.pooled, fusion.norm(x[:, 0]), rtol=1e-5, atol=1e-6)


def weights_for(fusion: Any, whole: Any, retained: list[int]) -> None:
    """Copies the weights that a fusion over `retained` of the columns shares with the one over all."""
    for place, index in enumerate(retained):
        for name in ("norms", "project", "blocks"):
            getattr(fusion, name)[place].load_state_dict(getattr(whole, name)[index].state_dict())
        fusion.summary.data[place] = whole.summary.data[index]
        partners = [i for i in range(len(whole.columns)) if i != index]
        for seat, other in enumerate(i for i in retained if i != index):
            fusion.pairs[place][seat].load_state_dict(whole.pairs[index][partners.index(other)].state_dict())
    fusion.norm.load_state_dict(whole.norm.state_dict())


@pytest.mark.parametrize("retained", [[0], [2], [0, 1], [0, 2], [1, 2]])
def test_an_absent_column_equals_a_fusion_over_the_others(retained: list[int]) -> None:
    torch.manual_seed(0)
    config = CrossAttentionFusionConfig()
    whole = config.build("abc", WIDTH).eval()
    names = "".join("abc"[index] for index in retained)
    part = config.build(names, WIDTH).eval()
    weights_for(part, whole, retained)
    columns = tokens(3, 1, 5)
    nothing = torch.zeros(3, dtype=torch.bool)
    masked = {name: column if name in names else column.masked(nothing) for name, column in columns.items()}
    fused, alone = whole(masked), part({name: columns[name] for name in names})
    torch.testing.assert_close(fused.pooled, alone.pooled, rtol=1e-6, atol=1e-6)
    for name in names:
        (start, stop), (first, last) = spans(fused)[name], spans(alone)[name]
        torch.testing.assert_close(
            fused.joined().values[:, start:stop], alone.joined().values[:, first:last], rtol=1e-6, atol=1e-6
        )


def test_every_parameter_gets_a_gradient_even_where_a_column_is_absent() -> None:
    torch.manual_seed(0)
    fusion = CrossAttentionFusionConfig().build("ab", WIDTH).train()
    columns = tokens(3, 4)
    columns["b"] = columns["b"].masked(torch.zeros(3, dtype=torch.bool))
    fused = fusion(columns)
    assert fused.joined().values.isfinite().all()
    fused.pooled.square().sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("options", [{"num_layers": 0}, {"num_self_layers": -1}])
def test_settings_without_sense_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=rf"{name}\b.*found"):
        CrossAttentionFusionConfig(**options)

"""Columns meet in the bottleneck tokens and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.bottleneck import BottleneckFusionConfig
from polysense.nn.layers.transformer import TransformerBlock

WIDTH = 16


def tokens(*lengths: int, batch: int = 3) -> dict[str, Tokens]:
    return {
        name: Tokens(torch.randn(batch, length, WIDTH), torch.ones(batch, length, dtype=torch.bool), (length,))
        for name, length in zip("abc", lengths, strict=False)
    }


def capture(fusion: Any, column: int, layer: int) -> list[Tensor]:
    """What that block gives, once the fusion has run."""
    found: list[Tensor] = []
    fusion.blocks[column][layer].register_forward_hook(lambda module, given, out: found.append(out))
    return found


@pytest.mark.parametrize("fusion_start", [0, 1])
def test_one_column_is_a_plain_transformer_over_its_tokens_and_the_bottleneck(fusion_start: int) -> None:
    torch.manual_seed(0)
    config = BottleneckFusionConfig(num_layers=3, fusion_start=fusion_start, num_bottlenecks=2, dropout=0.0)
    fusion = config.build("a", WIDTH).eval()
    stack = [TransformerBlock(WIDTH, 4) for _ in range(3)]
    for plain, block in zip(stack, fusion.blocks[0], strict=True):
        plain.load_state_dict(block.state_dict())
    columns = tokens(5)
    mask = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    columns["a"] = Tokens(columns["a"].values, mask, (5,))
    fused = fusion(columns)

    start = fused.columns["a"].summary[:, None] + fusion.summary
    x = torch.cat([start, fusion.project[0](columns["a"].values)], dim=1)
    valid = torch.cat([torch.ones(3, 1, dtype=torch.bool), mask], dim=1)
    for layer, block in enumerate(stack):
        if layer == fusion_start:
            x = torch.cat([x, fusion.bottlenecks.expand(3, -1, -1)], dim=1)
            valid = torch.cat([valid, torch.ones(3, 2, dtype=torch.bool)], dim=1)
        x = block(x, valid)
    x = fusion.norm(x)
    torch.testing.assert_close(fused.pooled, x[:, 0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fused.joined().values[mask], x[:, 1:6][mask], rtol=1e-5, atol=1e-6)


def test_nothing_of_another_column_comes_below_the_first_exchange() -> None:
    torch.manual_seed(0)
    fusion = BottleneckFusionConfig(num_layers=4, fusion_start=2).build("ab", WIDTH).eval()
    layers = [capture(fusion, column=0, layer=layer) for layer in range(4)]
    columns = tokens(3, 4)
    for column in columns.values():
        column.values.requires_grad_()
    fusion(columns)
    for layer, (out,) in enumerate(layers):
        own, other = torch.autograd.grad(
            out.square().sum(), [columns["a"].values, columns["b"].values], retain_graph=True, materialize_grads=True
        )
        assert own.abs().max() > 1e-3
        # Layers 0 and 1 are unimodal; 2 reads the learned bottleneck tokens; 3 reads what 2 wrote into them.
        if layer < 3:
            assert not other.any(), layer
        else:
            assert other.abs().max() > 1e-6


def test_without_the_bottleneck_columns_do_not_meet() -> None:
    torch.manual_seed(0)
    config = BottleneckFusionConfig(num_layers=4, fusion_start=1)
    fusion = config.build("ab", WIDTH).eval()
    columns = tokens(3, 4)
    changed = columns | {"b": Tokens(torch.randn(3, 4, WIDTH), columns["b"].mask, (4,))}
    before, after = fusion(columns).joined().values[:, :3], fusion(changed).joined().values[:, :3]
    assert (before - after).abs().max() > 1e-4

    def sever(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x, mask = given
        initial = fusion.bottlenecks.expand(len(x), -1, -1)
        return torch.cat([x[:, : -config.num_bottlenecks], initial], dim=1), mask

    for blocks in fusion.blocks:
        for block in blocks[config.fusion_start :]:
            block.register_forward_pre_hook(sever)
    assert torch.equal(fusion(columns).joined().values[:, :3], fusion(changed).joined().values[:, :3])


def test_the_next_bottleneck_is_the_mean_over_present_columns() -> None:
    torch.manual_seed(0)
    fusion = BottleneckFusionConfig(num_layers=2, fusion_start=0).build("abc", WIDTH).eval()
    generated = [capture(fusion, column, layer=0) for column in range(3)]
    read: list[Tensor] = []
    fusion.blocks[0][1].register_forward_pre_hook(lambda module, given: read.append(given[0][:, -4:]))
    columns = tokens(3, 4, 2)
    columns["b"] = columns["b"].masked(torch.tensor([True, False, False]))
    columns["c"] = columns["c"].masked(torch.tensor([True, True, False]))
    fusion(columns)
    a, b, c = (out[0][:, -4:] for out in generated)
    expected = torch.stack([(a[0] + b[0] + c[0]) / 3, (a[1] + c[1]) / 2, a[2]])
    torch.testing.assert_close(read[0], expected)


def test_every_parameter_gets_a_gradient_even_where_a_column_is_absent() -> None:
    torch.manual_seed(0)
    fusion = BottleneckFusionConfig().build("ab", WIDTH).train()
    columns = tokens(3, 4)
    columns["b"] = columns["b"].masked(torch.zeros(3, dtype=torch.bool))
    fused = fusion(columns)
    assert fused.joined().values.isfinite().all()
    fused.pooled.square().sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 2, "fusion_start": 1}, "found fusion_start 1 and num_layers 2"),
        ({"fusion_start": -1}, "found fusion_start -1"),
        ({"num_bottlenecks": 0}, "num_bottlenecks must be at least 1; found 0"),
    ],
)
def test_settings_by_which_nothing_would_be_exchanged_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BottleneckFusionConfig(**options)

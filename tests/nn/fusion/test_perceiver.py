"""Latents that read every valid token, whatever its place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_helpers import spans
from torch.overrides import TorchFunctionMode

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.perceiver import PerceiverFusionConfig

WIDTH = 16


def tokens(*lengths: int, batch: int = 3) -> dict[str, Tokens]:
    return {
        name: Tokens(torch.randn(batch, length, WIDTH), torch.ones(batch, length, dtype=torch.bool), (length,))
        for name, length in zip("abc", lengths, strict=False)
    }


def test_one_latent_without_self_attention_is_attention_pooling() -> None:
    """alpha_i = softmax(q . k_i / sqrt(D)) over the valid tokens of all columns, z = sum_i alpha_i v_i."""
    torch.manual_seed(0)
    config = PerceiverFusionConfig(num_latents=1, num_layers=1, num_self_layers=0, num_heads=1)
    fusion = config.build("ab", WIDTH).eval()
    columns = tokens(3, 4)
    columns["b"] = Tokens(columns["b"].values, torch.arange(4) < torch.tensor([4, 1, 0])[:, None], (4,))
    fused = fusion(columns)

    reading = fusion.readings[0]
    joined = torch.cat(
        [fusion.project[i](columns[n].values) + fusion.column_embedding[i] for i, n in enumerate("ab")], dim=1
    )
    q = reading.query(reading.query_norm(fusion.latents))[0]
    for row, valid in enumerate(torch.cat([columns["a"].mask, columns["b"].mask], dim=1)):
        k, v = reading.key_value(reading.context_norm(joined[row, valid])).chunk(2, dim=-1)
        alpha = torch.softmax(k @ q / WIDTH**0.5, dim=0)
        hidden = fusion.latents[0] + reading.attention_out(alpha @ v)
        present = [name for name in "ab" if columns[name].present[row]]
        start = torch.stack([fused.columns[name].summary[row] for name in present]).mean(0)
        expected = fusion.norm(hidden + reading.feed_forward(hidden) + start)
        torch.testing.assert_close(fused.pooled[row], expected, rtol=1e-5, atol=1e-5)


def test_the_order_of_tokens_does_not_matter() -> None:
    torch.manual_seed(0)
    fusion = PerceiverFusionConfig().build("ab", WIDTH).eval()
    columns = tokens(3, 5)
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = columns | {"b": Tokens(columns["b"].values[:, order], columns["b"].mask, (5,))}
    torch.testing.assert_close(fusion(columns).pooled, fusion(shuffled).pooled, rtol=1e-5, atol=1e-5)
    swapped = {"a": columns["b"], "b": columns["a"]}
    assert (fusion(columns).pooled - fusion(swapped).pooled).abs().max() > 1e-3


def test_tokens_stay_the_columns_own_and_never_meet_one_another() -> None:
    torch.manual_seed(0)
    fusion = PerceiverFusionConfig().build("ab", WIDTH).eval()
    columns = tokens(3, 5)
    columns["b"].values.requires_grad_()
    fused = fusion(columns)
    assert spans(fused) == {"a": (0, 3), "b": (3, 8)}
    (gradient,) = torch.autograd.grad(fused.joined().values[:, 4].square().sum(), columns["b"].values)
    assert gradient[:, 1].any()
    assert not gradient[:, [0, 2, 3, 4]].any()


class Attention(TorchFunctionMode):
    """Writes down how many queries and keys each attention has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.sizes.append((args[0].shape[2], args[1].shape[2]))
        return func(*args, **(kwargs or {}))


def test_attention_is_never_among_the_tokens_so_its_cost_is_linear_in_their_number() -> None:
    fusion = PerceiverFusionConfig(num_latents=4, num_layers=2, num_self_layers=1).build("ab", WIDTH).eval()
    with Attention() as attention:
        fusion(tokens(30, 70))
    assert attention.sizes == [(4, 100), (4, 4)] * 2


def test_every_parameter_gets_a_gradient_even_where_a_column_is_absent() -> None:
    torch.manual_seed(0)
    fusion = PerceiverFusionConfig().build("ab", WIDTH).train()
    columns = tokens(3, 4)
    columns["b"] = columns["b"].masked(torch.zeros(3, dtype=torch.bool))
    fused = fusion(columns)
    fused.pooled.square().sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("options", [{"num_latents": 0}, {"num_layers": 0}, {"num_self_layers": -1}])
def test_settings_without_sense_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=rf"{name}\b.*found"):
        PerceiverFusionConfig(**options)

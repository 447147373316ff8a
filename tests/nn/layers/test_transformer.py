"""The blocks against torch's own layer, and its masks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polysense.errors import ConfigError
from polysense.nn.layers.transformer import CrossAttentionBlock, TransformerBlock, sinusoidal


def test_block_equals_torchs_pre_norm_layer() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(32, 4)
    reference = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    reference.self_attn.in_proj_weight.data.copy_(block.query_key_value.weight)
    reference.self_attn.in_proj_bias.data.copy_(block.query_key_value.bias)
    reference.self_attn.out_proj.load_state_dict(block.attention_out.state_dict())
    reference.norm1.load_state_dict(block.attention_norm.state_dict())
    reference.norm2.load_state_dict(block.feed_forward[0].state_dict())
    reference.linear1.load_state_dict(block.feed_forward[1].state_dict())
    reference.linear2.load_state_dict(block.feed_forward[3].state_dict())
    tokens = torch.randn(3, 7, 32)
    mask = torch.arange(7) < torch.tensor([7, 3, 1])[:, None]
    expected = reference(tokens, src_key_padding_mask=~mask)
    torch.testing.assert_close(block(tokens, mask)[mask], expected[mask], rtol=1e-4, atol=1e-5)


def test_masked_tokens_reach_nothing_and_an_empty_row_is_finite() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(16, 2)
    tokens = torch.randn(2, 5, 16, requires_grad=True)
    mask = torch.tensor([[True, True, False, False, False], [False] * 5])
    out = block(tokens, mask)
    assert out.isfinite().all()
    out[mask].sum().backward()
    assert tokens.grad is not None
    assert not tokens.grad[~mask].any()


def test_sinusoidal_positions_differ_at_any_distance() -> None:
    positions = sinusoidal(torch.tensor([0, 1, 2, 100, 10_000]), 15)
    assert positions.shape == (5, 15)
    distances = torch.cdist(positions, positions) + torch.eye(5) * 9
    assert distances.min() > 0.1


def test_cross_attention_equals_torchs_attention_and_feed_forward() -> None:
    torch.manual_seed(0)
    block = CrossAttentionBlock(32, 4).eval()
    reference = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    reference.in_proj_weight.data.copy_(torch.cat([block.query.weight, block.key_value.weight]))
    reference.in_proj_bias.data.copy_(torch.cat([block.query.bias, block.key_value.bias]))
    reference.out_proj.load_state_dict(block.attention_out.state_dict())
    tokens, context = torch.randn(3, 4, 32), torch.randn(3, 7, 32)
    mask = torch.arange(7) < torch.tensor([7, 3, 1])[:, None]
    keys = block.context_norm(context)
    attended, _ = reference(block.query_norm(tokens), keys, keys, key_padding_mask=~mask)
    hidden = tokens + attended
    expected = hidden + block.feed_forward(hidden)
    torch.testing.assert_close(block(tokens, context, mask), expected, rtol=1e-4, atol=1e-5)


def test_cross_attention_to_nothing_adds_nothing_but_the_feed_forward() -> None:
    torch.manual_seed(0)
    block = CrossAttentionBlock(16, 2).eval()
    tokens, context = torch.randn(2, 3, 16), torch.randn(2, 5, 16, requires_grad=True)
    mask = torch.tensor([[True, True, False, False, False], [False] * 5])
    out = block(tokens, context, mask)
    torch.testing.assert_close(out[1], tokens[1] + block.feed_forward(tokens[1]))
    out.sum().backward()
    assert context.grad is not None
    assert context.grad[mask].any()
    assert not context.grad[~mask].any()


@pytest.mark.parametrize("block", [TransformerBlock, CrossAttentionBlock])
def test_heads_that_do_not_divide_the_width_are_refused(block: type[nn.Module]) -> None:
    with pytest.raises(ConfigError, match="found 3 heads and a width of 16"):
        block(16, 3)

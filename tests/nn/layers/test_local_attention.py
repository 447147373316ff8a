"""Local attention against the plain block, and against a plain block under a band mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from polysense.nn.layers.local_attention import LocalTransformerBlock


def reference(layer: LocalTransformerBlock, tokens: Tensor) -> Tensor:
    """The definition, of one unpadded row: every pair of tokens compared, those too far apart left out."""
    block, (_, length, width) = layer.block, tokens.shape
    q, k, v = block.query_key_value(block.attention_norm(tokens)).view(length, 3, block.num_heads, -1).unbind(1)
    scores = torch.einsum("qhk,chk->hqc", q, k) / q.shape[-1] ** 0.5
    positions = torch.arange(length)
    scores = scores.masked_fill((positions[:, None] - positions).abs() > layer.window, -torch.inf)
    attended = torch.einsum("hqc,chk->qhk", F.softmax(scores, dim=-1), v).reshape(1, length, width)
    tokens = tokens + block.attention_out(attended)
    out: Tensor = tokens + block.feed_forward(tokens)
    return out


@pytest.mark.parametrize("length", [1, 4, 5, 6, 16, 17, 20, 33, 64])
def test_it_is_attention_within_a_distance(length: int) -> None:
    torch.manual_seed(0)
    layer = LocalTransformerBlock(16, 2, window=4).eval()
    tokens = torch.randn(1, length, 16)
    expected = reference(layer, tokens)
    got = layer(tokens, torch.ones(1, length, dtype=torch.bool))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for extra in (3, 40):  # through the other ways of computing it
        longer = torch.cat([tokens, torch.randn(1, extra, 16) * 50], dim=1)
        mask = torch.arange(length + extra) < length
        torch.testing.assert_close(layer(longer, mask[None])[:, :length], expected, rtol=1e-4, atol=1e-5)


def test_a_short_sequence_is_the_plain_block() -> None:
    layer = LocalTransformerBlock(16, 2, window=4).eval()
    tokens, mask = torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(layer(tokens, mask), layer.block(tokens, mask))


@pytest.mark.parametrize("length", [5, 12, 40])
def test_a_row_without_a_valid_token_is_finite(length: int) -> None:
    layer = LocalTransformerBlock(16, 2, window=4)
    tokens = torch.randn(2, length, 16, requires_grad=True)
    mask = torch.stack([torch.ones(length, dtype=torch.bool), torch.zeros(length, dtype=torch.bool)])
    out = layer(tokens, mask)
    assert out.isfinite().all()
    out.square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


def test_distant_tokens_meet_over_several_layers_only() -> None:
    torch.manual_seed(0)
    layer = LocalTransformerBlock(16, 2, window=4).eval()
    tokens, mask = torch.randn(1, 40, 16), torch.ones(1, 40, dtype=torch.bool)
    changed = tokens.clone()
    changed[0, 20, 0] += 5.0  # a layer normalization would not notice all 16 values shifted
    once = (layer(tokens, mask) - layer(changed, mask)).abs().amax(dim=2)[0] > 1e-7
    assert once.nonzero().flatten().tolist() == list(range(16, 25))
    twice = (layer(layer(tokens, mask), mask) - layer(layer(changed, mask), mask)).abs().amax(dim=2)[0] > 1e-7
    assert twice.nonzero().flatten().tolist() == list(range(12, 29))

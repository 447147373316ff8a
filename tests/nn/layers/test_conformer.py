"""The Conformer block against another's, and what its positions and windows see."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polysense.errors import ConfigError
from polysense.nn.layers.conformer import ConformerBlock, rotate

WIDTH, HEADS, LENGTH = 16, 4, 12
PLACES = torch.arange(LENGTH)


def block(window: int = 100, kernel_size: int = 5) -> ConformerBlock:
    torch.manual_seed(0)
    return ConformerBlock(WIDTH, HEADS, window, kernel_size).eval()


class _OverChannels(nn.Module):
    """A layer normalization where the other has a batch normalization."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def test_it_is_the_block_of_another_library_but_for_the_normalization() -> None:
    transformers: Any = importlib.import_module("transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer")
    ours = block()
    config = transformers.Wav2Vec2ConformerConfig(
        hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=4 * WIDTH, conv_depthwise_kernel_size=5,
        position_embeddings_type=None, hidden_act="swish",
    )  # fmt: skip
    config._attn_implementation = "eager"
    theirs = transformers.Wav2Vec2ConformerEncoderLayer(config).eval()
    with torch.no_grad():
        for name, half in (("ffn1", ours.feed_forward_1), ("ffn2", ours.feed_forward_2)):
            getattr(theirs, f"{name}_layer_norm").load_state_dict(half[0].state_dict())
            getattr(theirs, name).intermediate_dense.load_state_dict(half[1].state_dict())
            getattr(theirs, name).output_dense.load_state_dict(half[4].state_dict())
        theirs.self_attn_layer_norm.load_state_dict(ours.attention_norm.state_dict())
        weights, biases = ours.query_key_value.weight.chunk(3), ours.query_key_value.bias.chunk(3)
        for layer, weight, bias in zip(("linear_q", "linear_k", "linear_v"), weights, biases, strict=True):
            getattr(theirs.self_attn, layer).load_state_dict({"weight": weight, "bias": bias})
        theirs.self_attn.linear_out.load_state_dict(ours.attention_out.state_dict())
        convolution = theirs.conv_module
        convolution.layer_norm.load_state_dict(ours.convolution_norm.state_dict())
        for own, other in (
            (ours.pointwise_1, convolution.pointwise_conv1),
            (ours.pointwise_2, convolution.pointwise_conv2),
        ):
            other.weight.copy_(own.weight[:, :, None])
            own.bias.zero_()  # theirs has none
        convolution.depthwise_conv.weight.copy_(ours.depthwise.weight)
        convolution.batch_norm = _OverChannels(ours.depthwise_norm)
        theirs.final_layer_norm.load_state_dict(ours.norm.state_dict())
    tokens = torch.randn(2, LENGTH, WIDTH)
    # All in one place: no positions, as theirs.
    found = ours(tokens, torch.ones(2, LENGTH, dtype=torch.bool), torch.zeros_like(PLACES))
    torch.testing.assert_close(found, theirs(tokens), rtol=1e-5, atol=1e-5)


def test_positions_are_distances() -> None:
    queries, keys = torch.randn(1, LENGTH, 6), torch.randn(1, LENGTH, 6)

    def products(offset: int) -> Tensor:
        return rotate(queries, PLACES + offset) @ rotate(keys, PLACES + offset).transpose(1, 2)

    torch.testing.assert_close(products(0), products(1000), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(products(0), queries @ keys.transpose(1, 2), atol=0.1)
    torch.testing.assert_close(rotate(queries, PLACES).norm(dim=2), queries.norm(dim=2))


def test_what_is_masked_is_not_read() -> None:
    ours = block()
    tokens, mask = torch.randn(2, LENGTH, WIDTH), torch.arange(LENGTH) < torch.tensor([[7], [0]])
    changed = tokens.clone()
    changed[~mask] = 1e4
    whole, other = ours(tokens, mask, PLACES), ours(changed, mask, PLACES)
    torch.testing.assert_close(whole[mask], other[mask])
    short = ours(tokens[:1, :7], mask[:1, :7], PLACES[:7])
    torch.testing.assert_close(whole[0, :7], short[0])
    assert whole.isfinite().all()


@pytest.mark.parametrize("window", [1, 2, 4, 11])
def test_windows_see_as_far_as_they_say(window: int) -> None:
    ours = block(window=window, kernel_size=1)
    tokens = torch.randn(1, LENGTH, WIDTH, requires_grad=True)
    ours(tokens, torch.ones(1, LENGTH, dtype=torch.bool), PLACES)[0, 5].square().sum().backward()
    assert tokens.grad is not None
    seen = (tokens.grad[0].abs().amax(dim=1) > 0).nonzero().flatten().tolist()
    assert seen == list(range(max(5 - window, 0), min(5 + window, LENGTH - 1) + 1))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 heads"):
        ConformerBlock(WIDTH, 3, 10, 5)

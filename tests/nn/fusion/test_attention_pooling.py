"""Attention pooling: a masked softmax over all tokens, written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.attention_pooling import AttentionPoolingFusion, AttentionPoolingFusionConfig


def tokens() -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    masks = {
        "a": [[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]],
        "b": [[1], [1], [0], [1]],
        "c": [[1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]],
    }
    return {
        name: Tokens(torch.randn(4, len(mask[0]), 8, generator=generator), torch.tensor(mask).bool(), (len(mask[0]),))
        for name, mask in masks.items()
    }


def by_hand(fusion: AttentionPoolingFusion, columns: dict[str, Tokens], row: int) -> list[torch.Tensor]:
    """Per query sum_i alpha_i v_i, alpha_i = exp(a . v_i) / sum_j exp(a . v_j), one token at a time."""
    vectors = [
        fusion.project[index](column.values[row, place]) + fusion.column_embedding[index]
        for index, column in enumerate(columns.values())
        for place in range(column.mask.shape[1])
        if column.mask[row, place]
    ]
    read = []
    for query in fusion.queries:
        exponentials = [(query @ vector).exp() for vector in vectors]
        weighted = [e / sum(exponentials) * vector for e, vector in zip(exponentials, vectors, strict=True)]
        read.append(torch.stack(weighted).sum(dim=0))
    return read


def test_one_query_is_the_textbooks_attention() -> None:
    torch.manual_seed(0)
    fusion = AttentionPoolingFusionConfig(num_queries=1).build("abc", 8).eval()
    columns = tokens()
    pooled = fusion(columns).pooled
    for row in range(4):
        torch.testing.assert_close(pooled[row], by_hand(fusion, columns, row)[0], atol=1e-6, rtol=1e-6)


def test_several_queries_are_concatenated_and_projected() -> None:
    torch.manual_seed(0)
    fusion = AttentionPoolingFusionConfig(num_queries=3).build("abc", 8).eval()
    columns = tokens()
    pooled = fusion(columns).pooled
    for row in range(4):
        expected = fusion.out(torch.cat(by_hand(fusion, columns, row)))
        torch.testing.assert_close(pooled[row], expected, atol=1e-6, rtol=1e-6)


def test_one_query_stays_within_the_tokens_and_can_choose_one() -> None:
    torch.manual_seed(0)
    fusion = AttentionPoolingFusionConfig(num_queries=1).build("abc", 8).eval()
    columns = tokens()
    fused = fusion(columns)
    for row in range(4):
        valid = fused.joined().values[row, fused.joined().mask[row]]
        assert (fused.pooled[row] <= valid.amax(0) + 1e-6).all()
        assert (fused.pooled[row] >= valid.amin(0) - 1e-6).all()
    with torch.no_grad():
        # A query far along one token's direction reads that token alone.
        requested = fused.joined().values[0, 3]
        fusion.queries.copy_(1e4 * (requested - fused.joined().values[0, fused.joined().mask[0]].mean(dim=0))[None])
    scores = fused.joined().values[0] @ fusion.queries[0]
    best = scores.masked_fill(~fused.joined().mask[0], -math.inf).argmax()
    torch.testing.assert_close(fusion(columns).pooled[0], fused.joined().values[0, best])


def test_no_query_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_queries.*found 0"):
        AttentionPoolingFusionConfig(num_queries=0)

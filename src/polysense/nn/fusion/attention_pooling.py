"""Attention pooling: alpha_i = softmax_i(a . v_i), z = sum_i alpha_i v_i over the valid tokens of all columns.

The token is v_i = P_m norm(x_i) + e_m, with a projection and an embedding per column; the queries a are learned.
Several learned queries that read one set are the pooling by multihead attention of Lee et al., "Set Transformer", 2019,
section 3.2, here without its feed-forward layers. The cost is linear in the number of tokens.

One query can't see an interaction of two columns that hold one token each: z falls on one side of a linear boundary
u . z = t where e^(a.v_x) (u . v_x - t) + e^(a.v_y) (u . v_y - t) > 0, a sum of what x says and what y says. A second
query, with another denominator, can. A column with many tokens starts with a large share of the attention; the
embedding e_m enters the score, so the share can be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["AttentionPoolingFusion", "AttentionPoolingFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class AttentionPoolingFusionConfig(FusionConfig):
    """Attention pooling: learned queries take a weighted mean of all columns' tokens.

    Attributes:
        num_queries: Learned queries; several are concatenated and projected. A single one can't see interactions
            between columns of one token each.
        dropout: On what the queries read.
    """

    type: Literal["attention_pooling"] = "attention_pooling"
    num_queries: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class AttentionPoolingFusion(Fusion, config=AttentionPoolingFusionConfig):
    """A projection and an embedding per column, learned queries."""

    def __init__(self, config: AttentionPoolingFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.project = self._projections()
        self.column_embedding = nn.Parameter(torch.randn(len(self.columns), width) * 0.02)
        # Scores of a standard deviation of about 0.6 at the start: neither a plain mean nor a single token.
        self.queries = nn.Parameter(torch.randn(config.num_queries, width) * width**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.num_queries * width, width) if config.num_queries > 1 else nn.Identity()

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        joined = self._embedded(tokens, self.project, self.column_embedding)
        # [batch, queries, length]; the softmax in fp32, since a long sequence's weights are below bf16's resolution.
        scores = torch.matmul(self.queries, joined.values.transpose(1, 2)).float()
        # A finite floor keeps a row without any token from giving NaN; its result is replaced by the learned summary.
        scores = scores.masked_fill(~joined.mask[:, None, :], torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).to(joined.values.dtype)
        read = self.dropout(torch.matmul(weights, joined.values))
        return joined, self.out(read.flatten(1))

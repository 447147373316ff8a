"""Learned queries that read a memory: one token out for each place of what is to be reconstructed.

A transformer decoder without a causal order, as in DETR (Carion et al., "End-to-End Object Detection with
Transformers", 2020, section 3.2) and Perceiver IO (Jaegle et al., 2021): every place asks the memory at once, so an
image costs one pass however many patches it has. A place is told from the others by its own learned vector alone.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.nn.layers.transformer import CrossAttentionBlock, TransformerBlock

__all__ = ["QueryDecoder"]


class QueryDecoder(nn.Module):
    """Attention among the queries and to the memory, in turn.

    Args:
        num_queries: Tokens that are made.
        width: Their width, and the memory's.
        num_layers: Blocks of each kind.
        num_heads: Attention heads; must divide `width`.
        dropout: After attention and after the feed-forward layers.
    """

    def __init__(self, num_queries: int, width: int, num_layers: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        # As large as what a block adds: with the usual 0.02 all positions look alike to the first layers.
        self.queries = nn.Parameter(torch.randn(num_queries, width) * 0.5)
        self.reading = nn.ModuleList(CrossAttentionBlock(width, num_heads, dropout=dropout) for _ in range(num_layers))
        self.mixing = nn.ModuleList(TransformerBlock(width, num_heads, dropout=dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, memory: Float[Tensor, "batch memory width"], mask: Bool[Tensor, "batch memory"]
    ) -> Float[Tensor, "batch queries width"]:
        """`mask` says which of the memory is valid; where none is, the queries attend to one another alone."""
        tokens = self.queries.expand(len(memory), -1, -1)
        for reading, mixing in zip(self.reading, self.mixing, strict=True):
            tokens = mixing(reading(tokens, memory, mask), None)
        made: Tensor = self.norm(tokens)
        return made

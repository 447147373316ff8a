"""Pre-norm transformer blocks over masked sequences: self-attention, and attention to another sequence.

Pre-norm (Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020) trains without a long warm-up.
Masked keys get no weight inside the softmax. A row whose keys are all masked attends to nothing: its attention output
is zero instead of the NaN that a softmax over minus infinities gives.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.errors import ConfigError

__all__ = ["CrossAttentionBlock", "TransformerBlock", "check_heads", "feed_forward", "sinusoidal"]

# Shape suffixes: B batch, L length, C length of the context, D width, H heads, K width of a head.


def sinusoidal(positions: Int[Tensor, "*shape"], width: int) -> Float[Tensor, "*shape width"]:
    """Sinusoidal position embeddings (Vaswani et al., "Attention Is All You Need", 2017, section 3.5).

    They have no longest length, so no sequence needs cutting.
    """
    half = (width + 1) // 2
    frequencies = torch.exp(
        torch.arange(half, device=positions.device, dtype=torch.float32) * (-math.log(10_000.0) / max(half - 1, 1))
    )
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width]


def check_heads(width: int, num_heads: int) -> None:
    """Raises ConfigError unless the heads divide the width."""
    if num_heads < 1 or width % num_heads:
        raise ConfigError(
            f"num_heads must divide the width of the tokens; found {num_heads} heads and a width of {width}. Change "
            f"num_heads, or model.width"
        )


def feed_forward(width: int, expansion: int, dropout: float) -> nn.Sequential:
    """Two layers at each token, behind a norm."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, expansion * width),
        nn.GELU(),
        nn.Linear(expansion * width, width),
        nn.Dropout(dropout),
    )


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual connection.

    Args:
        width: Width of the tokens.
        num_heads: Attention heads; must divide `width`.
        expansion: Width of the feed-forward layer over `width`.
        dropout: After attention and after the feed-forward layer.
    """

    def __init__(self, width: int, num_heads: int, expansion: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(width, num_heads)
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_forward = feed_forward(width, expansion, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"] | None
    ) -> Float[Tensor, "batch length width"]:
        """Values at masked positions are junk and are never read by valid ones. No mask: all are valid."""
        batch, length, width = tokens.shape
        qkv_BLHK = self.query_key_value(self.attention_norm(tokens)).view(batch, length, 3 * self.num_heads, -1)
        q_BHLK, k_BHLK, v_BHLK = qkv_BLHK.transpose(1, 2).chunk(3, dim=1)
        some_B11, allowed_B11L = None, None
        if mask is not None:
            # A row without any valid key may look at all of them, and is zeroed after: the softmax stays finite.
            some_B11 = mask.any(dim=1)[:, None, None]
            allowed_B11L = (mask[:, None] | ~some_B11)[:, None]
        attended_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, attn_mask=allowed_B11L)
        attended_BLD = self.attention_out(attended_BHLK.transpose(1, 2).reshape(batch, length, width))
        if some_B11 is not None:
            attended_BLD = attended_BLD * some_B11
        tokens = tokens + self.dropout(attended_BLD)
        out: Tensor = tokens + self.feed_forward(tokens)
        return out


class CrossAttentionBlock(nn.Module):
    """Attention from one sequence to another and a feed-forward layer, each with a residual connection.

    Queries come from the tokens, keys and values from the context; nothing flows between the tokens themselves, so the
    cost is the product of the two lengths.

    Args:
        width: Width of the tokens and of the context.
        num_heads: Attention heads; must divide `width`.
        expansion: Width of the feed-forward layer over `width`.
        dropout: After attention and after the feed-forward layer.
    """

    def __init__(self, width: int, num_heads: int, expansion: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        check_heads(width, num_heads)
        self.num_heads = num_heads
        self.query_norm = nn.LayerNorm(width)
        self.context_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.attention_out = nn.Linear(width, width)
        self.feed_forward = feed_forward(width, expansion, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch length width"],
        context: Float[Tensor, "batch context width"],
        mask: Bool[Tensor, "batch context"],
    ) -> Float[Tensor, "batch length width"]:
        """`mask` says which of the context is valid; where none is, a row's tokens attend to nothing."""
        batch, length, width = tokens.shape
        q_BHLK = self.query(self.query_norm(tokens)).view(batch, length, self.num_heads, -1).transpose(1, 2)
        kv_BCHK = self.key_value(self.context_norm(context)).view(batch, context.shape[1], 2 * self.num_heads, -1)
        k_BHCK, v_BHCK = kv_BCHK.transpose(1, 2).chunk(2, dim=1)
        some_B = mask.any(dim=1)
        allowed_B11C = (mask | ~some_B[:, None])[:, None, None, :]
        attended_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHCK, v_BHCK, attn_mask=allowed_B11C)
        attended_BLD = attended_BHLK.transpose(1, 2).reshape(batch, length, width)
        tokens = tokens + self.dropout(self.attention_out(attended_BLD) * some_B[:, None, None])
        out: Tensor = tokens + self.feed_forward(tokens)
        return out

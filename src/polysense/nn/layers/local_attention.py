"""A transformer block whose tokens attend only so far, so that cost grows linearly with the length.

Sliding-window attention (Beltagy et al., "Longformer", 2020, section 3.1): token i attends to token j where
|i - j| <= window. What a token sees is defined by distance alone, not by where blocks happen to begin or by how long
the batch mates are. Up to window + 1 tokens it is the plain block, to the bit; stacked blocks see further, as stacked
convolutions do. What is given up: in a sequence longer than the window, two distant tokens meet only after several
blocks.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.nn.layers.transformer import TransformerBlock

__all__ = ["LocalTransformerBlock", "attend_locally"]

# Shape suffixes: B batch, L length, D width, H heads, K width of a head, N blocks, W window, C = 3 W keys of a block.

_DENSE_WINDOWS = 4  # up to here one masked product over all pairs is cheaper than blocks of three windows


class LocalTransformerBlock(nn.Module):
    """A TransformerBlock in which a token attends to those at most `window` positions away.

    Args:
        width: Width of the tokens.
        num_heads: Attention heads; must divide `width`.
        window: How far a token sees, either way.
        expansion: Width of the feed-forward layer over `width`.
        dropout: After attention and after the feed-forward layer.
    """

    def __init__(self, width: int, num_heads: int, window: int, expansion: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        assert window >= 1, f"a window of {window} tokens"
        self.window = window
        self.block = TransformerBlock(width, num_heads, expansion, dropout)

    def forward(
        self, tokens: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """Values at masked positions are junk and are never read by valid ones."""
        batch, length, width = tokens.shape
        block = self.block
        if length <= self.window + 1:
            whole: Tensor = block(tokens, mask)
            return whole
        qkv_BLHK = block.query_key_value(block.attention_norm(tokens)).view(batch, length, 3 * block.num_heads, -1)
        q_BHLK, k_BHLK, v_BHLK = qkv_BLHK.transpose(1, 2).chunk(3, dim=1)
        attended_BHLK = attend_locally(q_BHLK, k_BHLK, v_BHLK, mask, self.window)
        attended_BLD = attended_BHLK.transpose(1, 2).reshape(batch, length, width)
        attended_BLD = block.attention_out(attended_BLD) * mask.any(dim=1)[:, None, None]
        tokens = tokens + block.dropout(attended_BLD)
        out: Tensor = tokens + block.feed_forward(tokens)
        return out


def attend_locally(
    q_BHLK: Float[Tensor, "batch heads length head"],
    k_BHLK: Float[Tensor, "batch heads length head"],
    v_BHLK: Float[Tensor, "batch heads length head"],
    mask_BL: Bool[Tensor, "batch length"],
    window: int,
) -> Float[Tensor, "batch heads length head"]:
    """Attention in which a token sees those at most `window` positions away.

    Args:
        q_BHLK: Queries.
        k_BHLK: Keys.
        v_BHLK: Values.
        mask_BL: Which positions are valid; what comes out at the others is junk, and finite.
        window: How far a token sees, either way.
    """
    attend = _dense if q_BHLK.shape[2] <= _DENSE_WINDOWS * window else _blockwise
    return attend(q_BHLK, k_BHLK, v_BHLK, mask_BL, window)


def _near(queries: Tensor, keys: Tensor, window: int) -> Bool[Tensor, "queries keys"]:
    return (queries[:, None] - keys[None, :]).abs() <= window


def _dense(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, mask_BL: Tensor, window: int) -> Tensor:
    positions = torch.arange(mask_BL.shape[1], device=mask_BL.device)
    near_LL = _near(positions, positions, window)
    # A masked token always sees itself, so that no softmax is over nothing; a valid one never sees a masked one.
    itself_LL = positions[:, None] == positions
    allowed_BLL = (near_LL & mask_BL[:, None, :]) | (itself_LL & ~mask_BL[:, :, None])
    return F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, attn_mask=allowed_BLL[:, None])


def _blockwise(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, mask_BL: Tensor, window: int) -> Tensor:
    batch, heads, length, _ = q_BHLK.shape
    extra = -length % window
    num_blocks = (length + extra) // window
    # Block n's queries are positions [n W, (n + 1) W), its keys the positions from one block before to one block after.
    q_BHNWK = F.pad(q_BHLK, (0, 0, 0, extra)).reshape(batch, heads, num_blocks, window, -1)
    k_BHNCK = F.pad(k_BHLK, (0, 0, window, window + extra)).unfold(2, 3 * window, window).transpose(3, 4)
    v_BHNCK = F.pad(v_BHLK, (0, 0, window, window + extra)).unfold(2, 3 * window, window).transpose(3, 4)
    valid_BNC = F.pad(mask_BL, (window, window + extra)).unfold(1, 3 * window, window)
    positions = torch.arange(3 * window, device=mask_BL.device)
    queries = positions[window : 2 * window]
    near_WC, itself_WC = _near(queries, positions, window), queries[:, None] == positions
    masked_BNW = ~valid_BNC[:, :, window : 2 * window]
    allowed_BNWC = (near_WC & valid_BNC[:, :, None, :]) | (itself_WC & masked_BNW[..., None])
    # Four dimensions, so that the fused kernels take it: [B N, H, W, K].
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q_BHNWK, k_BHNCK, v_BHNCK))
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed_BNWC.flatten(0, 1)[:, None])
    attended_BHNWK = attended.view(batch, num_blocks, heads, window, -1).transpose(1, 2)
    return attended_BHNWK.reshape(batch, heads, num_blocks * window, -1)[:, :, :length]

"""The Conformer block: attention for what is far, a convolution for what is near.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition" (Interspeech 2020, section 2.4):
half a feed-forward layer, self-attention, a convolution over time, another half, and a normalization at the end.

Two things differ from the paper. The convolution is followed by layer instead of batch normalization: batch statistics
would tie every row to its batch mates and count their padding. And positions are rotary (Su et al., "RoFormer", 2021)
instead of Transformer-XL's relative ones: both see distances only and have no longest length, but rotations work within
the fused attention kernels, and within windows.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.nn.layers.local_attention import attend_locally
from polysense.nn.layers.transformer import check_heads

__all__ = ["ConformerBlock", "rotate"]

# Shape suffixes: B batch, L length, D width, H heads, K width of a head.


def rotate(values: Float[Tensor, "*batch length head"], positions: Int[Tensor, " length"]) -> Tensor:
    """Rotates pairs of channels by angles that grow with the position, so that products see distances only.

    Channel i turns with channel i + K / 2, at the frequency 10000^(-2 i / K); an odd last channel stays as it is.
    """
    half = values.shape[-1] // 2
    steps = torch.arange(half, device=values.device, dtype=torch.float32)
    angles = positions.to(torch.float32)[:, None] * 10_000.0 ** (-steps / max(half, 1))
    cos, sin = angles.cos().to(values.dtype), angles.sin().to(values.dtype)
    first, second, rest = values[..., :half], values[..., half : 2 * half], values[..., 2 * half :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


class ConformerBlock(nn.Module):
    """Half a feed-forward layer, attention within a window, a convolution, half a feed-forward layer.

    Args:
        width: Width of the tokens.
        num_heads: Attention heads; must divide `width`.
        window: How far a token attends, either way; a sequence no longer than this is seen whole.
        kernel_size: Tokens that the convolution spans; odd.
        expansion: Width of the feed-forward layers over `width`.
        dropout: In each of the four parts.
    """

    def __init__(
        self, width: int, num_heads: int, window: int, kernel_size: int, expansion: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_heads(width, num_heads)
        assert kernel_size % 2 == 1, f"a kernel of {kernel_size} has no middle"
        self.num_heads, self.window = num_heads, window
        self.feed_forward_1 = _feed_forward(width, expansion, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.convolution_norm = nn.LayerNorm(width)
        self.pointwise_1 = nn.Linear(width, 2 * width)
        # Without a bias, as its normalization follows.
        self.depthwise = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width, bias=False)
        self.depthwise_norm = nn.LayerNorm(width)
        self.pointwise_2 = nn.Linear(width, width)
        self.feed_forward_2 = _feed_forward(width, expansion, dropout)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch length width"],
        mask: Bool[Tensor, "batch length"],
        positions: Int[Tensor, " length"],
    ) -> Float[Tensor, "batch length width"]:
        """Values at masked positions are junk and are never read by valid ones.

        Args:
            tokens: What is encoded.
            mask: Which of them are valid.
            positions: Of the tokens in time.
        """
        tokens = tokens + 0.5 * self.feed_forward_1(tokens)
        tokens = tokens + self.dropout(self._attended(self.attention_norm(tokens), mask, positions))
        tokens = tokens + self.dropout(self._convolved(self.convolution_norm(tokens), mask))
        tokens = tokens + 0.5 * self.feed_forward_2(tokens)
        out: Tensor = self.norm(tokens)
        return out

    def _attended(self, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        qkv_BLHK = self.query_key_value(tokens).view(batch, length, 3 * self.num_heads, -1)
        q_BHLK, k_BHLK, v_BHLK = qkv_BLHK.transpose(1, 2).chunk(3, dim=1)
        attended_BHLK = attend_locally(rotate(q_BHLK, positions), rotate(k_BHLK, positions), v_BHLK, mask, self.window)
        out: Tensor = self.attention_out(attended_BHLK.transpose(1, 2).reshape(batch, length, width))
        return out

    def _convolved(self, tokens: Tensor, mask: Tensor) -> Tensor:
        # What is padding is 0, as what lies beyond the kernel's reach at either end is.
        gated = F.glu(self.pointwise_1(tokens), dim=-1).masked_fill(~mask[:, :, None], 0.0)
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.pointwise_2(F.silu(self.depthwise_norm(mixed)))
        return out


def _feed_forward(width: int, expansion: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, expansion * width),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(expansion * width, width),
        nn.Dropout(dropout),
    )

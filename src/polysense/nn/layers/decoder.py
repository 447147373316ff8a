"""A causal transformer block that attends to its own past and to a memory, with a key-value cache.

Pre-norm, as in `transformer`. What a position reads of the past and of the memory are keys and values that never
change once computed: kept, a step costs one position instead of all (Pope et al., "Efficiently Scaling Transformer
Inference", 2022, section 2.1). The cache has its full length from the start, so that a step writes into it and copies
nothing, and the memory's keys and values are computed once for a whole text.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.errors import ConfigError

__all__ = ["Cache", "DecoderBlock"]

# Shape suffixes: B batch, T positions of the text, C length of the memory, H heads, K width of a head.


@dataclass(frozen=True, eq=False)
class Cache:
    """What a block has computed for the rows so far.

    Attributes:
        keys: [batch, heads, positions, head width], of the text; written up to the current position.
        values: Likewise.
        memory_keys: [batch, heads, memory, head width].
        memory_values: Likewise.
    """

    keys: Float[Tensor, "batch heads positions head"]
    values: Float[Tensor, "batch heads positions head"]
    memory_keys: Float[Tensor, "batch heads memory head"]
    memory_values: Float[Tensor, "batch heads memory head"]

    def reorder(self, rows: Int[Tensor, " batch"], length: int) -> None:
        """Makes each row go on from another one's past; rows of one origin have the same memory.

        Args:
            rows: Per row whose past it takes.
            length: Positions written.
        """
        self.keys[:, :, :length] = self.keys[rows, :, :length]
        self.values[:, :, :length] = self.values[rows, :, :length]


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the memory and a feed-forward layer, each with a residual connection.

    Args:
        width: Width of the tokens and of the memory.
        num_heads: Attention heads; must divide `width`.
        dropout: After each of the three.
        expansion: Width of the feed-forward layer over `width`.
    """

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0, expansion: int = 4) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise ConfigError(
                f"num_heads must divide the width of the tokens; found {num_heads} heads and a width of {width}. "
                "Change num_heads, or model.width"
            )
        self.num_heads = num_heads
        self.self_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.self_out = nn.Linear(width, width)
        self.memory_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.memory_out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch positions width"],
        memory: Float[Tensor, "batch memory width"],
        mask: Bool[Tensor, "batch memory"],
    ) -> Float[Tensor, "batch positions width"]:
        """All positions at once, each seeing itself and what is before it.

        Args:
            tokens: The text.
            memory: What it is written from.
            mask: Which of the memory is valid; at least one in each row.
        """
        q_BHTK, k_BHTK, v_BHTK = self._own(tokens)
        attended = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        tokens = tokens + self.dropout(self.self_out(_merged(attended)))
        k_BHCK, v_BHCK = self._remember(memory)
        return self._finish(tokens, k_BHCK, v_BHCK, mask)

    def start(self, memory: Float[Tensor, "batch memory width"], num_positions: int) -> Cache:
        """A cache for texts of up to so many positions."""
        keys, values = self._remember(memory)
        shape = (memory.shape[0], self.num_heads, num_positions, keys.shape[-1])
        return Cache(keys.new_zeros(shape), values.new_zeros(shape), keys, values)

    def step(
        self, token: Float[Tensor, "batch 1 width"], cache: Cache, position: int, mask: Bool[Tensor, "batch memory"]
    ) -> Float[Tensor, "batch 1 width"]:
        """The next position of each row; equal to `forward` at that position.

        Args:
            token: What stands there.
            cache: Written up to the position before.
            position: From 0.
            mask: As in `forward`.
        """
        q_BH1K, k_BH1K, v_BH1K = self._own(token)
        cache.keys[:, :, position : position + 1] = k_BH1K
        cache.values[:, :, position : position + 1] = v_BH1K
        past = slice(0, position + 1)
        attended = F.scaled_dot_product_attention(q_BH1K, cache.keys[:, :, past], cache.values[:, :, past])
        token = token + self.self_out(_merged(attended))
        return self._finish(token, cache.memory_keys, cache.memory_values, mask)

    def _own(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, _ = tokens.shape
        qkv: Tensor = self.query_key_value(self.self_norm(tokens)).view(batch, length, 3 * self.num_heads, -1)
        queries, keys, values = qkv.transpose(1, 2).chunk(3, dim=1)
        return queries, keys, values

    def _remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch, length, _ = memory.shape
        kv = self.key_value(memory).view(batch, length, 2 * self.num_heads, -1).transpose(1, 2)
        keys, values = kv.chunk(2, dim=1)
        return keys, values

    def _finish(self, tokens: Tensor, k_BHCK: Tensor, v_BHCK: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = tokens.shape
        q_BHTK = self.query(self.memory_norm(tokens)).view(batch, length, self.num_heads, -1).transpose(1, 2)
        attended = F.scaled_dot_product_attention(q_BHTK, k_BHCK, v_BHCK, attn_mask=mask[:, None, None, :])
        tokens = tokens + self.dropout(self.memory_out(_merged(attended)))
        out: Tensor = tokens + self.feed_forward(tokens)
        return out


def _merged(attended_BHTK: Tensor) -> Tensor:
    return attended_BHTK.transpose(1, 2).flatten(2)

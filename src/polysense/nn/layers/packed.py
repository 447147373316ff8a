"""Several rows' texts as one sequence without padding.

Everything but attention works on each token alone, so padding can be left out of it: the tokens of all rows stand in
one sequence [tokens, width], each with its position in its own row. For the time of the attention queries, keys and
values are put back into rows, which costs two copies and saves nothing within attention itself: for texts of a sentence
a small part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Packing", "pack"]

# Shape suffixes: B rows, T positions of the longest text, C length of the memory, H heads, K width of a head.


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the tokens of a packed sequence come from, and what each may attend to.

    Attributes:
        positions: Per token its position within its row.
        index: Per token its place in the padded rows, flattened.
        shape: (rows, longest) of the padded rows.
        memory_mask: Which of each row's memory is valid; at least one place in each row.
    """

    positions: Int[Tensor, " tokens"]
    index: Int[Tensor, " tokens"]
    shape: tuple[int, int]
    memory_mask: Bool[Tensor, "rows memory"]

    def pack(self, values: Shaped[Tensor, "rows longest *features"]) -> Shaped[Tensor, tokens * features]:
        """Padded rows as one sequence."""
        return values.flatten(0, 1).index_select(0, self.index)

    def unpack(self, values: Shaped[Tensor, tokens * features]) -> Shaped[Tensor, "rows longest *features"]:
        """One sequence as padded rows; 0 where nothing stands."""
        rows, longest = self.shape
        padded = values.new_zeros(rows * longest, *values.shape[1:])
        return padded.index_copy(0, self.index, values).view(rows, longest, *values.shape[1:])

    def attend(
        self,
        queries: Float[Tensor, "tokens heads head"],
        keys: Float[Tensor, "tokens heads head"],
        values: Float[Tensor, "tokens heads head"],
    ) -> Float[Tensor, "tokens heads head"]:
        """Causal self-attention within each row."""
        qkv_BTHK = self.unpack(torch.stack([queries, keys, values], dim=1))
        q_BHTK, k_BHTK, v_BHTK = qkv_BTHK.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        return self.pack(attended.transpose(1, 2))

    def read(
        self,
        queries: Float[Tensor, "tokens heads head"],
        keys: Float[Tensor, "rows heads memory head"],
        values: Float[Tensor, "rows heads memory head"],
    ) -> Float[Tensor, "tokens heads head"]:
        """Attention to the memory of each token's own row."""
        q_BHTK = self.unpack(queries).transpose(1, 2)
        attended = F.scaled_dot_product_attention(q_BHTK, keys, values, attn_mask=self.memory_mask[:, None, None, :])
        return self.pack(attended.transpose(1, 2))


def pack(lengths: Int[Tensor, " rows"], longest: int, memory_mask: Bool[Tensor, "rows memory"]) -> Packing:
    """Packs rows of these lengths. On a GPU it waits for what is under way: how many tokens there are decides shapes.

    Args:
        lengths: Tokens of each row; 0 leaves it out.
        longest: Positions of the padded rows.
        memory_mask: Which of each row's memory is valid.
    """
    index = (torch.arange(longest, device=lengths.device) < lengths[:, None]).flatten().nonzero()[:, 0]
    return Packing(index % longest, index, (len(lengths), longest), memory_mask)

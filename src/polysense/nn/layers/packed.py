"""Several rows' texts as one sequence without padding, and the one rule of who may attend to whom.

Everything but attention works on each token alone, so padding can be left out of it: tokens of all rows stand in one
sequence [tokens, width], each with its document (the row; -1 = padding) and its position in that document. Attention
follows one rule, `may_attend` (own document, no later position) and `may_read` (the memory of the own document), on any
of three backends:

- "padded": queries, keys and values are put back into rows for the time of the attention. Costs two copies and saves
  nothing within attention itself, which for texts of a sentence is a small part. The default.
- "dense": one sequence with a mask of tokens x tokens. Quadratic in the batch; the rule spelt out, for comparison.
- "flex": FlexAttention (Dong et al., "Flex Attention", 2024), which skips blocks that the rule forbids. For long texts
  on a GPU, where it is compiled; on a CPU it runs uncompiled and has no backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, TypeAlias, no_type_check

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Backend", "Packing", "may_attend", "may_read", "pack"]

Backend: TypeAlias = Literal["padded", "dense", "flex"]

# Shape suffixes: B rows, T positions of the longest text, N tokens, C length of the memory, H heads, K width of a head.


@no_type_check  # FlexAttention traces these, and no checker may stand in the way; tests instrument annotations
def may_attend(query_document: Tensor, query_position: Tensor, key_document: Tensor, key_position: Tensor) -> Tensor:
    """Whether a token sees another: of its own document, and not after it. Padding sees padding."""
    return (query_document == key_document) & (key_position <= query_position)


@no_type_check
def may_read(query_document: Tensor, memory_document: Tensor, valid: Tensor) -> Tensor:
    """Whether a token sees a place of the memory: its own document's, where valid. Padding, which nobody reads, may."""
    return ((query_document == memory_document) | (query_document < 0)) & valid


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the tokens of a packed sequence come from, and what each may attend to.

    Attributes:
        documents: Per token its row; -1 = padding, which comes last.
        positions: Per token its position within the row.
        index: Per token but the padding, its place in the padded rows, flattened.
        shape: (rows, longest) of the padded rows.
        memory_mask: Which of each row's memory is valid; at least one place in each row.
        backend: How attention is computed.
    """

    documents: Int[Tensor, " tokens"]
    positions: Int[Tensor, " tokens"]
    index: Int[Tensor, " valid"]
    shape: tuple[int, int]
    memory_mask: Bool[Tensor, "rows memory"]
    backend: Backend = "padded"

    def pack(self, values: Shaped[Tensor, "rows longest *features"]) -> Shaped[Tensor, tokens * features]:
        """Padded rows as one sequence; 0 where it is padded itself."""
        packed = values.flatten(0, 1).index_select(0, self.index)
        extra = len(self.documents) - len(self.index)
        return torch.cat([packed, packed.new_zeros(extra, *packed.shape[1:])]) if extra else packed

    def unpack(self, values: Shaped[Tensor, tokens * features]) -> Shaped[Tensor, "rows longest *features"]:
        """One sequence as padded rows; 0 where nothing stands."""
        rows, longest = self.shape
        padded = values.new_zeros(rows * longest, *values.shape[1:])
        padded = padded.index_copy(0, self.index, values[: len(self.index)])
        return padded.view(rows, longest, *values.shape[1:])

    def attend(
        self,
        queries: Float[Tensor, "tokens heads head"],
        keys: Float[Tensor, "tokens heads head"],
        values: Float[Tensor, "tokens heads head"],
    ) -> Float[Tensor, "tokens heads head"]:
        """Causal self-attention within each document."""
        if self.backend == "padded":
            qkv_BTHK = self.unpack(torch.stack([queries, keys, values], dim=1))
            q_BHTK, k_BHTK, v_BHTK = qkv_BTHK.permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
            return self.pack(attended.transpose(1, 2))
        return self._one_sequence(queries, _heads_first(keys), _heads_first(values), self._own)

    def read(
        self,
        queries: Float[Tensor, "tokens heads head"],
        keys: Float[Tensor, "rows heads memory head"],
        values: Float[Tensor, "rows heads memory head"],
    ) -> Float[Tensor, "tokens heads head"]:
        """Attention to the memory of each token's own document."""
        if self.backend == "padded":
            q_BHTK = self.unpack(queries).transpose(1, 2)
            mask_B11C = self.memory_mask[:, None, None, :]
            attended = F.scaled_dot_product_attention(q_BHTK, keys, values, attn_mask=mask_B11C)
            return self.pack(attended.transpose(1, 2))
        flat = [memory.transpose(1, 2).flatten(0, 1) for memory in (keys, values)]
        return self._one_sequence(queries, _heads_first(flat[0]), _heads_first(flat[1]), self._memory)

    def _one_sequence(self, queries: Tensor, k_1HSK: Tensor, v_1HSK: Tensor, rule: Any) -> Tensor:
        q_1HNK = _heads_first(queries)
        if self.backend == "dense":
            attended = F.scaled_dot_product_attention(q_1HNK, k_1HSK, v_1HSK, attn_mask=rule)
        else:
            attended = _flex(queries.is_cuda)(q_1HNK, k_1HSK, v_1HSK, block_mask=rule)
        return attended[0].transpose(0, 1)

    @cached_property
    def _own(self) -> Any:
        documents, positions = self.documents, self.positions

        @no_type_check
        def rule(query: Tensor, key: Tensor) -> Tensor:
            return may_attend(documents[query], positions[query], documents[key], positions[key])

        return self._mask(rule, len(documents))

    @cached_property
    def _memory(self) -> Any:
        documents, valid = self.documents, self.memory_mask.flatten()
        rows, length = self.memory_mask.shape
        origin = torch.arange(rows, device=valid.device).repeat_interleave(length)

        @no_type_check
        def rule(query: Tensor, key: Tensor) -> Tensor:
            return may_read(documents[query], origin[key], valid[key])

        return self._mask(rule, len(valid))

    def _mask(self, rule: Callable[[Tensor, Tensor], Tensor], num_keys: int) -> Any:
        """The rule as the backend takes it, made once for all layers."""
        num_queries, device = len(self.documents), self.documents.device
        if self.backend == "dense":
            queries = torch.arange(num_queries, device=device)[:, None]
            return rule(queries, torch.arange(num_keys, device=device)[None])
        from torch.nn.attention.flex_attention import create_block_mask

        return create_block_mask(lambda _b, _h, q, k: rule(q, k), None, None, num_queries, num_keys, device=str(device))


def pack(
    lengths: Int[Tensor, " rows"],
    longest: int,
    memory_mask: Bool[Tensor, "rows memory"],
    *,
    backend: Backend = "padded",
    multiple: int = 1,
) -> Packing:
    """Packs rows of these lengths. On a GPU it waits for what is under way: how many tokens there are decides shapes.

    Args:
        lengths: Tokens of each row; 0 leaves it out.
        longest: Positions of the padded rows.
        memory_mask: Which of each row's memory is valid.
        backend: How attention is computed.
        multiple: What the number of tokens is padded to a multiple of, so that fewer shapes occur.
    """
    rows = len(lengths)
    positions = torch.arange(longest, device=lengths.device)
    index = (positions < lengths[:, None]).flatten().nonzero()[:, 0]
    documents, within = index // longest, index % longest
    extra = -len(index) % multiple
    if extra:
        documents = torch.cat([documents, documents.new_full((extra,), -1)])
        within = torch.cat([within, torch.arange(extra, device=lengths.device)])
    return Packing(documents, within, index, (rows, longest), memory_mask, backend)


def _heads_first(values_NHK: Tensor) -> Tensor:
    return values_NHK.transpose(0, 1)[None]


@cache
def _flex(compiled: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    function: Any = flex_attention
    return torch.compile(function, dynamic=True) if compiled else function

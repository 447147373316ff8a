"""The true texts of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import pytree_node

__all__ = ["GenerationTruth"]


@pytree_node
@dataclass(frozen=True, eq=False, kw_only=True)
class GenerationTruth(Truth):
    """Texts as token ids.

    Attributes:
        values: From the begin token to the end token, padded. As collated for training a row may have several
            references, [batch, references, length]: one of them is drawn before each use.
        lengths: Tokens of each text, begin and end among them; 0 where absent.
        earlier: The prompt's token ids where they are earlier answers that are trained on too (a chat), the padding id
            everywhere else. None where no row has any.
    """

    values: Int[Tensor, "batch *references length"]
    lengths: Int[Tensor, batch * references]
    earlier: Int[Tensor, "batch prompt_length"] | None = None

    def token_counts(self) -> tuple[int, int, int]:
        there = int(self.lengths.sum())
        return there - int((self.lengths > 0).sum()), there, self.values.numel()

    def drawn(self, draws: Float[Tensor, " batch"]) -> GenerationTruth:
        if self.lengths.dim() == 1:
            return self
        chosen = (draws * (self.lengths > 0).sum(dim=1)).long()  # the references come first
        rows = torch.arange(len(chosen))
        values, lengths = self.values[rows, chosen], self.lengths[rows, chosen]
        longest = max(2, int(lengths.max())) if len(lengths) else 2
        return replace(self, values=values[:, :longest].contiguous(), lengths=lengths)

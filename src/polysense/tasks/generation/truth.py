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
        rejected_values: Texts that people liked less, as `values`; a row may have none. None where the batch has none.
        rejected_lengths: Likewise.
    """

    values: Int[Tensor, "batch *references length"]
    lengths: Int[Tensor, batch * references]
    earlier: Int[Tensor, "batch prompt_length"] | None = None
    rejected_values: Int[Tensor, "batch *_texts _length"] | None = None
    rejected_lengths: Int[Tensor, batch * _texts] | None = None

    @property
    def rejected(self) -> GenerationTruth | None:
        """The rejected texts as a truth of their own, absent in rows without any."""
        if self.rejected_values is None or self.rejected_lengths is None:
            return None
        there = (
            self.rejected_lengths.flatten(1).amax(dim=1) if self.rejected_lengths.dim() > 1 else self.rejected_lengths
        )
        return GenerationTruth(
            values=self.rejected_values, lengths=self.rejected_lengths, present=self.present & (there > 0)
        )

    def token_counts(self) -> tuple[int, int, int]:
        there = int(self.lengths.sum())
        counts = there - int((self.lengths > 0).sum()), there, self.values.numel()
        if self.rejected is None:
            return counts
        others = self.rejected.token_counts()
        return counts[0] + others[0], counts[1] + others[1], counts[2] + others[2]

    def drawn(self, draws: Float[Tensor, " batch"]) -> GenerationTruth:
        result = self
        if self.rejected_values is not None and self.rejected_lengths is not None:
            values, lengths = _drawn(self.rejected_values, self.rejected_lengths, draws)
            result = replace(result, rejected_values=values, rejected_lengths=lengths)
        values, lengths = _drawn(self.values, self.lengths, draws)
        return result if values is self.values else replace(result, values=values, lengths=lengths)


def _drawn(values: Tensor, lengths: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """One of each row's texts."""
    if lengths.dim() == 1:
        return values, lengths
    chosen = (draws * (lengths > 0).sum(dim=1)).long()  # the texts come first
    rows = torch.arange(len(chosen))
    values, lengths = values[rows, chosen], lengths[rows, chosen]
    longest = max(2, int(lengths.max())) if len(lengths) else 2
    return values[:, :longest].contiguous(), lengths

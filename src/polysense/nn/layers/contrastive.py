"""Losses that compare every row of a batch with every other: InfoNCE and SigLIP, in memory linear in the batch.

InfoNCE (van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018; as in CLIP, Radford et
al., 2021, figure 3): which of all candidates belongs to this one, a softmax. Several right ones count as in Khosla et
al., "Supervised Contrastive Learning", 2020, equation 2: the mean of their log probabilities.
SigLIP (Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023, algorithm 1): each pair is right or wrong by
itself, so small batches suit it better, and many wrong pairs outweigh the few right ones at first, hence the bias.

The similarities of B rows are B x B numbers, and autograd would keep several of that size. Here they are made for some
rows at a time, and made again in the backward pass: one more product of matrices, which is nothing beside the encoders,
for saved memory that is linear in B.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

__all__ = ["Comparison", "ContrastiveLoss", "Duplicates", "contrastive_losses"]

ContrastiveLoss: TypeAlias = Literal["infonce", "siglip"]
"""A softmax over the candidates, or each pair on its own."""

Duplicates: TypeAlias = Literal["positives", "ignored", "negatives"]
"""What another row that holds the same thing is to a row."""

_NEVER = -1e9  # exp(-1e9 - anything here) is 0 exactly, and a row without candidates stays finite


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """Who is compared with whom: some rows' one column with all rows' other one.

    Attributes:
        ids: [rows] which of the candidates is the row itself.
        keys: [rows, keys] what the rows hold; 0 is unknown.
        present: [rows] which of them have their column, and are counted.
        candidate_keys: [batch, keys] likewise of the candidates.
        candidate_present: [batch] which candidates have their column.
        loss: Which loss.
        duplicates: What a candidate is that shares a key with the row, and is not the row itself.
        chunk: Rows that are compared at a time.
    """

    ids: Int[Tensor, " rows"]
    keys: Int[Tensor, "rows keys"]
    present: Bool[Tensor, " rows"]
    candidate_keys: Int[Tensor, "batch keys"]
    candidate_present: Bool[Tensor, " batch"]
    loss: ContrastiveLoss = "infonce"
    duplicates: Duplicates = "positives"
    chunk: int = 256

    def chunks(self) -> Iterator[slice]:
        """Some rows at a time."""
        for start in range(0, len(self.ids), self.chunk):
            yield slice(start, start + self.chunk)

    def roles(self, rows: slice) -> tuple[Bool[Tensor, "some batch"], Bool[Tensor, "some batch"]]:
        """Which candidates are right for these rows, and which are looked at, right or wrong."""
        itself = self.ids[rows, None] == torch.arange(len(self.candidate_present), device=self.ids.device)
        right, seen = itself, torch.ones_like(itself)
        if self.duplicates != "negatives":
            again = torch.zeros_like(itself)
            for own, others in zip(self.keys[rows].unbind(1), self.candidate_keys.unbind(1), strict=True):
                again |= (own[:, None] == others) & (own[:, None] != 0)
            right, seen = (itself | again, seen) if self.duplicates == "positives" else (itself, itself | ~again)
        return right & self.candidate_present, seen & self.candidate_present

    def losses(
        self,
        rows: slice,
        queries: Float[Tensor, "some size"],
        candidates: Float[Tensor, "batch size"],
        logit_scale: Float[Tensor, " 1"],
        bias: Float[Tensor, " 1"],
    ) -> Float[Tensor, " some"]:
        """The losses of these rows, 0 where one is not counted."""
        right, seen = self.roles(rows)
        logits = queries @ candidates.T * logit_scale + bias
        if self.loss == "siglip":
            signed = torch.where(right, logits, -logits)
            return -(F.logsigmoid(signed) * (seen & self.present[rows, None])).sum(dim=1)
        logits = logits.masked_fill(~seen, _NEVER)
        num_right = right.sum(dim=1)
        mean = (logits * right).sum(dim=1) / num_right.clamp(min=1)
        return (logits.logsumexp(dim=1) - mean) * (self.present[rows] & (num_right > 0))


def contrastive_losses(
    comparison: Comparison,
    queries: Float[Tensor, "rows size"],
    candidates: Float[Tensor, "batch size"],
    logit_scale: Float[Tensor, " 1"],
    bias: Float[Tensor, " 1"],
) -> Float[Tensor, " rows"]:
    """Each row's loss against all candidates.

    Args:
        comparison: Who is compared with whom.
        queries: Of length 1; anything finite where the column is absent.
        candidates: Likewise.
        logit_scale: What the cosine is multiplied by, 1 / temperature.
        bias: What is added to it; a softmax doesn't see it.
    """
    with torch.autocast(queries.device.type, enabled=False):
        losses: Tensor = _Recomputed.apply(
            comparison, queries.float(), candidates.float(), logit_scale.float(), bias.float()
        )
    return losses


class _Recomputed(Function):
    """Keeps the inputs alone, and computes each chunk again when its gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, comparison: Comparison, queries: Tensor, *others: Tensor) -> Tensor:
        ctx.comparison = comparison
        ctx.save_for_backward(queries, *others)
        parts = [comparison.losses(rows, queries[rows], *others) for rows in comparison.chunks()]
        return torch.cat(parts) if parts else queries.new_zeros(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, *others = ctx.saved_tensors
        own = torch.zeros_like(queries)
        sums = [torch.zeros_like(other) for other in others]
        device = queries.device.type
        for rows in ctx.comparison.chunks():
            with torch.enable_grad(), torch.autocast(device, enabled=False):
                inputs = [tensor.detach().requires_grad_() for tensor in (queries[rows], *others)]
                losses = ctx.comparison.losses(rows, *inputs)
            own[rows], *parts = torch.autograd.grad(losses, inputs, gradient[rows])
            for total, part in zip(sums, parts, strict=True):
                total += part
        return (None, own, *sums)

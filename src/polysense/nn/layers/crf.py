"""A linear chain over labels: a sequence's score is the sum of its labels' and of those of neighbors in sequence.

Lafferty, McCallum and Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting and Labeling Sequence
Data", 2001; the sums over all sequences are the forward and the backward algorithm (Rabiner, 1989), the best one is
Viterbi's. It knows which label may follow which, at the price of one step after another: twice a thousand small
operations for a thousand steps, where independent labels need one.

All arithmetic is in float32 whatever autocast says: sums over thousands of steps don't fit into half precision.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["LinearChainCRF"]

_NEVER = -1e4  # finite, so that a sequence with no allowed labeling has no NaN


class LinearChainCRF(nn.Module):
    """Transitions between labels. Valid steps come first in each row; a row without any has a log likelihood of 0.

    Args:
        num_labels: Labels of a step.
        may_begin: bool [labels], which may come first; None: all.
        may_follow: bool [labels, labels], which (second axis) may follow which (first axis); None: all.
    """

    never_first: Tensor
    never_next: Tensor

    def __init__(
        self,
        num_labels: int,
        may_begin: Bool[Tensor, " labels"] | None = None,
        may_follow: Bool[Tensor, "labels labels"] | None = None,
    ) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.zeros(num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))
        first = torch.zeros(num_labels) if may_begin is None else (~may_begin).float() * _NEVER
        following = torch.zeros(num_labels, num_labels) if may_follow is None else (~may_follow).float() * _NEVER
        self.register_buffer("never_first", first, persistent=False)
        self.register_buffer("never_next", following, persistent=False)

    def log_likelihood(
        self,
        emissions: Float[Tensor, "batch steps labels"],
        labels: Int[Tensor, "batch steps"],
        mask: Bool[Tensor, "batch steps"],
    ) -> Float[Tensor, " batch"]:
        """The log probability of each row's labels among all labelings of its valid steps."""
        with torch.autocast(emissions.device.type, enabled=False):
            emissions = emissions.float()
            forward = self._forward(emissions, mask)
            total = (forward[:, -1] + self.end).logsumexp(dim=1)
            return (self._score(emissions, labels, mask) - total) * mask.any(dim=1)

    def marginals(
        self, emissions: Float[Tensor, "batch steps labels"], mask: Bool[Tensor, "batch steps"]
    ) -> Float[Tensor, "batch steps labels"]:
        """Each step's probability of each label, over all labelings; anything where the mask is False."""
        with torch.autocast(emissions.device.type, enabled=False):
            emissions = emissions.float()
            forward = self._forward(emissions, mask)
            backward = self._backward(emissions, mask)
            return (forward + backward).softmax(dim=-1)

    def best(
        self, emissions: Float[Tensor, "batch steps labels"], mask: Bool[Tensor, "batch steps"]
    ) -> Int[Tensor, "batch steps"]:
        """The most likely labeling of each row; 0 where the mask is False."""
        with torch.autocast(emissions.device.type, enabled=False):
            emissions = emissions.float()
            start, follow = self._start(), self._follow()
            score = start + emissions[:, 0]
            stay = torch.arange(score.shape[1], device=score.device).expand_as(score)
            origins = []
            for step in range(1, emissions.shape[1]):
                best, origin = (score[:, :, None] + follow).max(dim=1)
                valid = mask[:, step, None]
                score = torch.where(valid, best + emissions[:, step], score)
                origins.append(torch.where(valid, origin, stay))
            label = (score + self.end).argmax(dim=1)
            results = [label]
            for origin in reversed(origins):
                label = origin.gather(1, label[:, None])[:, 0]
                results.append(label)
            return torch.stack(results[::-1], dim=1) * mask

    def _start(self) -> Float[Tensor, " labels"]:
        return self.begin + self.never_first

    def _follow(self) -> Float[Tensor, "labels labels"]:
        return self.transitions + self.never_next

    def _score(self, emissions: Tensor, labels: Tensor, mask: Tensor) -> Float[Tensor, " batch"]:
        own = (emissions.gather(2, labels[:, :, None])[:, :, 0] * mask).sum(dim=1)
        between = self._follow()[labels[:, :-1], labels[:, 1:]]
        last = (mask.sum(dim=1) - 1).clamp(min=0)[:, None]
        end = self.end[labels.gather(1, last)[:, 0]]
        return own + (between * mask[:, 1:]).sum(dim=1) + self._start()[labels[:, 0]] + end

    def _forward(self, emissions: Tensor, mask: Tensor) -> Float[Tensor, "batch steps labels"]:
        """Log sums over all labelings up to each step, by its label; after the last valid step they stay."""
        follow = self._follow()
        score = self._start() + emissions[:, 0]
        results = [score]
        for step in range(1, emissions.shape[1]):
            onward = (score[:, :, None] + follow).logsumexp(dim=1) + emissions[:, step]
            score = torch.where(mask[:, step, None], onward, score)
            results.append(score)
        return torch.stack(results, dim=1)

    def _backward(self, emissions: Tensor, mask: Tensor) -> Float[Tensor, "batch steps labels"]:
        """Log sums over all labelings after each step, by its label."""
        follow = self._follow()
        score = self.end.expand(emissions.shape[0], -1)
        results = [score]
        for step in range(emissions.shape[1] - 1, 0, -1):
            onward = (follow + (emissions[:, step] + score)[:, None, :]).logsumexp(dim=2)
            score = torch.where(mask[:, step, None], onward, score)
            results.append(score)
        return torch.stack(results[::-1], dim=1)

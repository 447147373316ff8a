"""The bag of a text's tokens, predicted from summaries without a decoder: a loss that looks at the columns from the
first step.

A decoder that has the true text's beginning explains most of the next token by it, and a column's share of the gradient
is small until the rest is learned: on 324 photographs a language model writes one fluent caption for all of them. Which
tokens a text has, whatever their order, only the columns tell (Ma et al., "Bag-of-Words as Target for Neural Machine
Translation", ACL 2018, section 3; as attributes of an image, Wu et al., "What Value Do Explicit High Level Concepts
Have in Vision to Language Problems?", CVPR 2016). How frequent a token is in the training texts is the prior, so that
what is learned is the difference that a row makes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.generation.truth import GenerationTruth

__all__ = ["BagOfTokens"]


class BagOfTokens(nn.Module):
    """Losses of bags of tokens.

    Args:
        target: Whose texts.
        num_tokens: Ids that can be predicted: [0, num_tokens).

    Attributes:
        frequency: [vocabulary], the log share of each token in the training texts; -inf for what is in none, and for
            what marks their ends.
    """

    frequency: Tensor

    def __init__(self, target: GenerationTarget, num_tokens: int | None = None) -> None:
        super().__init__()
        self._marks = (*target.never_generated, target.end_id)
        self._num_tokens = target.vocabulary_size if num_tokens is None else num_tokens
        frequency = torch.zeros(target.vocabulary_size)
        frequency[self._num_tokens :] = -math.inf
        frequency[list(self._marks)] = -math.inf
        self.register_buffer("frequency", frequency)

    def fit(self, texts: Iterable[Sequence[int]]) -> None:
        """Counts the training texts; see `Head.fit_texts`. Until then all tokens are equally frequent."""
        counts = Counter(token for text in texts for token in set(text))
        marks = set(self._marks)
        kept = {token: n for token, n in counts.items() if token not in marks and token < self._num_tokens}
        if not kept:  # texts without a token
            return
        self.frequency.fill_(-math.inf)
        ids = torch.tensor(list(kept), device=self.frequency.device)
        numbers = torch.tensor(list(kept.values()), dtype=torch.float32, device=self.frequency.device)
        self.frequency[ids] = (numbers / numbers.sum()).log()

    @property
    def ids(self) -> Int[Tensor, " tokens"]:
        """The tokens that can be in a bag."""
        return self.frequency.isfinite().nonzero().flatten()

    def log_probabilities(self, logits: Float[Tensor, "batch slots tokens"]) -> Float[Tensor, "batch tokens"]:
        """Of the tokens in `ids`: each slot is a distribution of its own, and the bag their mean, so that slots come to
        stand for different words."""
        each = (logits.float() + self.frequency[self.ids]).log_softmax(dim=2)
        return each.logsumexp(dim=1) - math.log(logits.shape[1])

    def losses(self, predicted: Float[Tensor, "batch tokens"], truth: GenerationTruth) -> Float[Tensor, " batch"]:
        """Cross entropy of each row's tokens, each counted once, summed over them."""
        return -torch.where(self._bag(truth), predicted, 0.0).sum(dim=1)

    def count(self, truth: GenerationTruth) -> Float[Tensor, " batch"]:
        """How many tokens each row's loss is a sum over."""
        return self._bag(truth).sum(dim=1).float()

    def _bag(self, truth: GenerationTruth) -> Bool[Tensor, "batch tokens"]:
        bag = torch.zeros(len(truth.values), len(self.frequency), dtype=torch.bool, device=truth.values.device)
        bag.scatter_(1, truth.values, True)
        return (bag & truth.present[:, None])[:, self.ids]

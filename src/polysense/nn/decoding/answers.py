"""Every listed answer is scored, and the most likely is taken: exact where greedy search may leave the best beginning.

The answers' common beginnings are computed once (`trie.py`), so the cost grows with the number of different beginnings;
for some thousand answers it is far above greedy search's. Relative to the list, P(answer) / sum of P over all answers,
scores are probabilities of a closed question (as in "rank classification": Brown et al., "Language Models are Few-Shot
Learners", 2020, section 2.4, without their correction for length).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from polysense.config.limits import PositiveInt
from polysense.errors import ConfigError
from polysense.nn.decoding.base import Decoder, DecodingConfig, Generated
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.token_target import TokenTarget

__all__ = ["Ranking", "RankingConfig"]


@dataclass(frozen=True, kw_only=True)
class RankingConfig(DecodingConfig):
    """The most likely of all listed answers, each of which is scored; the target needs a list (its `answers`).

    Attributes:
        num_texts: How many answers to give for a row, the best ones.
        normalize: Whether a score is relative to the list, so that the probabilities of all answers sum to 1.
    """

    type: Literal["answers"] = "answers"
    num_texts: PositiveInt = 1
    normalize: bool = False


class Ranking(Decoder, config=RankingConfig):
    """Scores all answers."""

    def __init__(self, config: RankingConfig, target: TokenTarget) -> None:
        super().__init__(config, target)
        if self.trie is None:
            raise ConfigError(
                f"the decoding 'answers' ranks a list, and the target {target.name!r} has none; train with "
                f"data.targets.{target.name}.answers, or choose another decoding"
            )
        self._config, self.texts_at_once = config, self.trie.width
        self._answers = self.trie.texts(self.padding_id)

    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        assert self.trie is not None
        batch, device, trie = len(rows), rows.device, self.trie
        results = []
        scores = torch.zeros(batch, 1, device=device)
        nodes, token = torch.zeros(1, dtype=torch.int64), torch.full((batch,), self.begin_id, device=device)
        for first, last in trie.levels[1:]:
            steps = incremental(token).view(batch, len(nodes), -1)
            origin = torch.searchsorted(nodes, trie.parents[first:last])
            tokens = trie.tokens[first:last]
            scores = scores[:, origin] + steps[:, origin.to(device), tokens.to(device)]
            over = trie.num_children[first:last] == 0
            results.append(scores[:, over])
            nodes, scores, token = torch.arange(first, last)[~over], scores[:, ~over], tokens[~over].to(device)
            if not len(nodes):
                break
            starts = torch.arange(batch)[:, None] * steps.shape[1]
            incremental.reorder((starts + origin[~over]).flatten().to(device))
            token = token.repeat(batch)
        every = torch.cat(results, dim=1)
        if self._config.normalize:
            every = every.log_softmax(dim=1)
        ranked, order = every.sort(dim=1, descending=True, stable=True)
        best = order[:, : self._config.num_texts]
        yield Generated(self._answers.to(device)[best], ranked[:, : self._config.num_texts])

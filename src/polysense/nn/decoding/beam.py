"""Beam search: the most likely beginnings are followed at once, and in the end the best text is taken.

Texts are compared by log P / ((5 + length) / 6)^a (Wu et al., "Google's Neural Machine Translation System", 2016,
section 7), since a longer text is less likely by its length alone. A text that has ended stays among those that are
followed, as long as it is one of the most likely. It finds likelier texts than greedy search at `beam_size` times the
cost; for open-ended texts likelier is not always better (Holtzman et al., 2020).
"""

from __future__ import annotations

import math
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

__all__ = ["BeamSearch", "BeamSearchConfig"]


@dataclass(frozen=True, kw_only=True)
class BeamSearchConfig(DecodingConfig):
    """Beam search: the most likely text among several prefixes that are extended in parallel.

    Attributes:
        beam_size: Number of prefixes in the beam; 1 is greedy decoding.
        length_penalty: How much longer texts are favored: a in log P / ((5 + length) / 6)^a.
        num_texts: How many texts to give for a row, the best ones; at most `beam_size`.
    """

    type: Literal["beam"] = "beam"
    beam_size: PositiveInt = 4
    length_penalty: float = 0.6
    num_texts: PositiveInt = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.length_penalty):
            raise ConfigError(f"length_penalty must be a finite number; found {self.length_penalty}")
        if not 1 <= self.num_texts <= self.beam_size:
            raise ConfigError(
                f"num_texts must be from 1 to beam_size ({self.beam_size}); found {self.num_texts}. Raise beam_size"
            )


class BeamSearch(Decoder, config=BeamSearchConfig):
    """Beam search."""

    def __init__(self, config: BeamSearchConfig, target: TokenTarget) -> None:
        super().__init__(config, target)
        self._config, self.texts_at_once = config, config.beam_size

    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        batch, device = len(rows), rows.device
        token, ids = self._room(batch, device)
        ids = ids[:, None]  # [batch, beams, length]; there are more beams as there are more beginnings
        done = (rows < 0)[:, None]  # fillers
        lengths, scores = torch.zeros(batch, 1, device=device), torch.zeros(batch, 1, device=device)
        position = 0
        for position in range(self.max_new_tokens):
            steps = incremental(token).view(batch, scores.shape[1], -1)
            vocabulary = steps.shape[2]
            # A text that has ended stays as it is, among those that go on.
            stays = torch.full((vocabulary,), -math.inf, device=device)
            stays[self.padding_id] = 0.0
            steps = torch.where(done[:, :, None], stays, steps)
            candidates = (scores[:, :, None] + steps).flatten(1)
            scores, chosen = candidates.topk(min(self._config.beam_size, candidates.shape[1]), dim=1)
            origin, picked = chosen // vocabulary, chosen % vocabulary
            first = torch.arange(batch, device=device)[:, None] * steps.shape[1]
            incremental.reorder((first + origin).flatten())
            ids = ids.gather(1, origin[:, :, None].expand(-1, -1, ids.shape[2]))
            ids[:, :, position] = picked
            done, lengths = done.gather(1, origin), lengths.gather(1, origin)
            lengths = lengths + ~done
            # What no text may go on with (-inf) is not waited for either.
            done = done | (picked == self.end_id) | scores.isneginf()
            token = picked.flatten()
            if done.all():
                break
            yield Generated(ids[:, :, : position + 1], scores)
        compared = scores / ((5 + lengths) / 6) ** self._config.length_penalty
        best = compared.sort(dim=1, descending=True, stable=True).indices[:, : self._config.num_texts]
        ids = ids.gather(1, best[:, :, None].expand(-1, -1, ids.shape[2]))[:, :, : position + 1]
        yield Generated(ids, scores.gather(1, best))

"""Greedy search: always the most likely next token. The cheapest way; it may miss a text that begins less likely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from polysense.nn.decoding.base import Decoder, DecodingConfig, Generated
from polysense.nn.decoding.incremental import IncrementalDecoder

__all__ = ["Greedy", "GreedyConfig"]


@dataclass(frozen=True, kw_only=True)
class GreedyConfig(DecodingConfig):
    """The most likely next token at every step."""

    type: Literal["greedy"] = "greedy"


class Greedy(Decoder, config=GreedyConfig):
    """Greedy search."""

    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        token, ids = self._room(len(rows), rows.device)
        done = rows < 0  # fillers
        scores = torch.zeros(len(rows), device=rows.device)
        for position in range(self.max_new_tokens):
            best, chosen = incremental(token).max(dim=-1)
            scores = scores + best.masked_fill(done, 0.0)
            token = chosen.masked_fill(done, self.padding_id)
            ids[:, position] = token
            done = done | (token == self.end_id)
            yield Generated(ids[:, None, : position + 1], scores[:, None])
            if done.all():
                break

"""Sampling: each next token is drawn, by a uniform that is a pure function of (seed, row, text, position).

So a row's text is the same in every batch, in every order and in a repeated run, and another seed gives another text.
The draw inverts the cumulative distribution of the tokens that are left by temperature, then top-k (Fan et al.,
"Hierarchical Neural Story Generation", 2018), then top-p, the fewest tokens that together have the probability p
(Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020). Scores are the model's own log probabilities
all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.config.limits import Fraction, NonNegativeFloat, PositiveInt, Seed
from polysense.core.random import uniforms
from polysense.errors import ConfigError
from polysense.nn.decoding.base import Decoder, DecodingConfig, Generated
from polysense.nn.decoding.incremental import IncrementalDecoder
from polysense.nn.decoding.token_target import TokenTarget

__all__ = ["Sampling", "SamplingConfig"]


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(DecodingConfig):
    """Random sampling from the model's distribution.

    Attributes:
        temperature: Below 1 favors likely tokens, above 1 unlikely ones; 0 is greedy decoding.
        top_k: Sample from this many of the most likely tokens; null: from all.
        top_p: Sample from the smallest set of tokens with this total probability (nucleus sampling); 1: from all.
        num_texts: Number of texts to sample per row. The most likely one is the prediction; duplicates are dropped.
        seed: Seed of the samples, together with the row's number.
    """

    type: Literal["sample"] = "sample"
    temperature: NonNegativeFloat = 1.0
    top_k: PositiveInt | None = None
    top_p: Fraction = 1.0
    num_texts: PositiveInt = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1; found {self.top_p}")


class Sampling(Decoder, config=SamplingConfig):
    """Ancestral sampling."""

    def __init__(self, config: SamplingConfig, target: TokenTarget) -> None:
        super().__init__(config, target)
        self._config, self.texts_at_once = config, config.num_texts

    def _steps(self, incremental: IncrementalDecoder, rows: Int[Tensor, " batch"]) -> Iterator[Generated]:
        batch, num, device = len(rows), self._config.num_texts, rows.device
        coordinates = rows.cpu().numpy()[:, None], torch.arange(num).numpy()
        drawn = uniforms(self.max_new_tokens, self._config.seed, "decoding", *coordinates)
        draws = torch.from_numpy(drawn).flatten(0, 1).to(device)
        token, ids = self._room(batch * num, device)
        done = (rows < 0).repeat_interleave(num)  # fillers
        scores = torch.zeros(batch * num, device=device)
        position = 0
        for position in range(self.max_new_tokens):
            steps = incremental(token[::num] if position == 0 else token)
            if position == 0 and num > 1:
                origins = torch.arange(batch, device=device).repeat_interleave(num)
                incremental.reorder(origins)
                steps = steps[origins]
            chosen = self._draw(steps, draws[:, position])
            scores = scores + steps.gather(1, chosen[:, None])[:, 0].masked_fill(done, 0.0)
            token = chosen.masked_fill(done, self.padding_id)
            ids[:, position] = token
            done = done | (token == self.end_id)
            if done.all():
                break
            yield Generated(ids[:, : position + 1].view(batch, num, -1), scores.view(batch, num))
        yield _ranked(ids[:, : position + 1].view(batch, num, -1), scores.view(batch, num))

    def _draw(self, steps: Float[Tensor, "rows vocabulary"], draws: Float[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        config = self._config
        if config.temperature == 0:
            return steps.argmax(dim=-1)
        logits = ((steps - steps.amax(dim=-1, keepdim=True)) / config.temperature).double()
        order = None
        if config.top_k is not None:
            logits, order = logits.topk(min(config.top_k, logits.shape[1]), dim=-1)
        elif config.top_p < 1:
            logits, order = logits.sort(dim=-1, descending=True, stable=True)
        weights = logits.softmax(dim=-1)
        if config.top_p < 1:
            # The first token is always kept; each other as long as those before it have not enough.
            before = weights.cumsum(dim=-1) - weights
            before[:, 0] = 0.0
            weights = weights.masked_fill(before >= config.top_p, 0.0)
        cumulative = weights.cumsum(dim=-1)
        total = cumulative[:, -1:]
        # Below the total, or rounding would choose a token beyond the last one.
        expected = torch.minimum(draws[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
        chosen = (cumulative <= expected).sum(dim=-1, keepdim=True).clamp(max=weights.shape[1] - 1)
        return (chosen if order is None else order.gather(1, chosen))[:, 0]


def _ranked(ids: Int[Tensor, "batch texts length"], scores: Float[Tensor, "batch texts"]) -> Generated:
    """The most likely first; what was drawn before is no other text."""
    num = ids.shape[1]
    same = (ids[:, :, None] == ids[:, None]).all(dim=-1)
    earlier = torch.ones(num, num, dtype=torch.bool, device=ids.device).tril(-1)
    scores = scores.masked_fill((same & earlier).any(dim=2), -math.inf)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    return Generated(ids.gather(1, order[:, :, None].expand_as(ids)), scores)

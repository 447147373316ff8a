"""Recurrent fusion (CNN + RNN): the columns' features, side by side at each time step, through a bidirectional RNN.

The recipe of long-term recurrent convolutional networks (Donahue et al., "Long-term Recurrent Convolutional Networks
for Visual Recognition and Description", 2015): an encoder per step, a recurrent layer over the steps, the mean of its
outputs. Here step t reads all columns, x_t = sum_m P_m norm(x_m,t) + b, which is one matrix over their concatenation;
an absent column adds nothing to the sum.

Alignment: a row has as many steps as the longest column that it has holds valid tokens, `max_steps` at most. A column
of as many tokens stands one token a step; any other is resampled over the same span by averaging, step t of S over the
tokens floor(t L / S) to ceil((t + 1) L / S), as adaptive average pooling does, so that what has no time, such as a
number, stands at every step. So columns are assumed to cover the same span of time, from first to last token. Where
they don't (a caption and an image, whose patches are steps in reading order), attention is the better choice. An RNN
runs step by step, so it is slow on long sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries
from polysense.nn.layers.recurrent import BidirectionalRNN

__all__ = ["RecurrentFusion", "RecurrentFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class RecurrentFusionConfig(FusionConfig):
    """CNN + RNN: a bidirectional recurrent layer over the columns' tokens, aligned in time.

    Attributes:
        cell: gru or lstm.
        num_layers: Recurrent layers.
        max_steps: Most time steps; longer sequences are averaged down to it, never cut.
        dropout: On the recurrent layers' input.
    """

    type: Literal["recurrent"] = "recurrent"
    cell: Literal["gru", "lstm"] = "gru"
    num_layers: PositiveInt = 1
    max_steps: PositiveInt = 64
    dropout: FractionBelowOne = 0.1


class RecurrentFusion(Fusion, config=RecurrentFusionConfig):
    """A projection per column, alignment in time, a bidirectional RNN."""

    def __init__(self, config: RecurrentFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        self.max_steps = config.max_steps
        self.project = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, bias=False)) for _ in self.columns
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(config.dropout)
        cell = nn.GRU if config.cell == "gru" else nn.LSTM
        hidden = (width + 1) // 2
        self.recurrent = BidirectionalRNN(cell, width, hidden, config.num_layers)
        self.out = nn.Linear(2 * hidden, width)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        # A row's number of steps depends on its own valid tokens; only the padding depends on the batch.
        lengths = torch.stack([column.mask.sum(dim=1) for column in tokens], dim=1)
        steps = lengths.amax(dim=1).clamp(1, self.max_steps)
        padded = min(self.max_steps, max(column.mask.shape[1] for column in tokens))
        spans = [_spans(column.mask, steps, padded) for column in tokens]

        projected = [project(column.values) for column, project in zip(tokens, self.project, strict=True)]
        x = self.bias.expand(len(steps), padded, -1)
        for values, span in zip(projected, spans, strict=True):
            x = x + _average(span, values)

        states = self.out(self.recurrent(self.dropout(x), steps))

        valid = torch.arange(padded, device=steps.device) < steps[:, None]
        pooled = Tokens(states, valid, (padded,)).mean()
        # Every token goes on with the states of the steps that it stood at.
        fused = [
            Tokens(values + _average(span.transpose(1, 2), states), column.mask, column.grid)
            for values, span, column in zip(projected, spans, tokens, strict=True)
        ]
        return self.join(fused), pooled


def _spans(
    mask: Bool[Tensor, "batch length"], steps: Int[Tensor, " batch"], padded: int
) -> Bool[Tensor, "batch steps length"]:
    """Which valid tokens stand at which step; masked tokens and padded steps have none."""
    # A list of items leaves holes in the mask, so a token's place is its rank among the valid ones.
    place = (mask.cumsum(dim=1) - 1)[:, None, :]
    length = mask.sum(dim=1)[:, None, None]
    count = steps[:, None, None]
    step = torch.arange(padded, device=mask.device)[None, :, None]
    first = step * length // count
    last = ((step + 1) * length + count - 1) // count
    return (first <= place) & (place < last) & mask[:, None, :] & (step < count)


def _average(
    members: Bool[Tensor, "batch outputs inputs"], values: Float[Tensor, "batch inputs width"]
) -> Float[Tensor, "batch outputs width"]:
    """Per output the mean of its members; 0 where it has none."""
    weights = members.to(values.dtype)
    return weights @ values / weights.sum(dim=2, keepdim=True).clamp(min=1)

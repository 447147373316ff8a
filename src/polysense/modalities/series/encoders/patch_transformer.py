"""A transformer over patches of a series (Nie et al., "A Time Series is Worth 64 Words", ICLR 2023, section 3.1).

A patch of 16 steps is one token, so attention over 1,600 steps costs what attention over 100 tokens does. Unlike the
paper's, channels are not encoded apart but enter a token together: what they say at one time is often read together
(the axes of an accelerometer), and tokens are not multiplied by channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.modalities.series.encoders.channels import with_indicators
from polysense.modalities.series.record import SeriesColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.layers.transformer import TransformerBlock, sinusoidal

__all__ = ["SeriesPatchTransformer", "SeriesPatchTransformerConfig"]


@dataclass(frozen=True, kw_only=True)
class SeriesPatchTransformerConfig(EncoderConfig):
    """A transformer over patches of a series, trained from scratch.

    Attributes:
        patch_size: Steps of a patch.
        num_layers: Transformer blocks.
        num_heads: Attention heads; must divide model.width.
        dropout: In the blocks and on the patches.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"series"})
    type: Literal["series_patch_transformer"] = "series_patch_transformer"
    patch_size: PositiveInt = 16
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class SeriesPatchTransformer(Encoder, config=SeriesPatchTransformerConfig):
    """A linear layer over patches, positions, transformer blocks, a norm."""

    def __init__(self, config: SeriesPatchTransformerConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        self.patch_size = config.patch_size
        self.embed = nn.Linear(2 * SeriesColumn.of(column).num_channels * config.patch_size, width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        steps, valid = with_indicators(values, lengths)
        missing = -steps.shape[1] % self.patch_size
        steps = F.pad(steps, (0, 0, 0, missing))
        mask = F.pad(valid, (0, missing))[:, :: self.patch_size]
        patches = steps.reshape(len(steps), -1, self.patch_size * steps.shape[2])
        positions = sinusoidal(torch.arange(patches.shape[1], device=steps.device), self.width)
        tokens = self.dropout(self.embed(patches) + positions)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return Tokens(self.norm(tokens), mask, (tokens.shape[1],))

"""A transformer over trained subword tokens.

The trade-off: attention costs length squared, which a table's notes, names and utterances never feel; a document of ten
thousand tokens does. Positions are sinusoidal, so no text is too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths
from polysense.nn.layers.transformer import TransformerBlock, sinusoidal

__all__ = ["TextTransformer", "TextTransformerConfig"]


@dataclass(frozen=True, kw_only=True)
class TextTransformerConfig(EncoderConfig):
    """A transformer over subword tokens, trained from scratch.

    Attributes:
        num_layers: Transformer blocks.
        num_heads: Attention heads; must divide model.width.
        dropout: On embeddings and in every block.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["text_transformer"] = "text_transformer"
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1


class TextTransformer(Encoder, config=TextTransformerConfig):
    """Subword embeddings, sinusoidal positions, transformer blocks."""

    def __init__(self, config: TextTransformerConfig, column: TextColumn, width: int) -> None:
        super().__init__(column, width)
        self.embedding = nn.Embedding(column.vocabulary_size, width)
        # As loud as the sinusoidal positions, whose mean square is 1/2, would otherwise drown it at 0.02.
        nn.init.normal_(self.embedding.weight, std=1.0)
        self.position_scale = nn.Parameter(torch.full((1,), 0.3))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
        )

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        positions = torch.arange(values.shape[1], device=values.device)
        mask = positions < lengths[:, None]
        x = self.embedding(values) + self.position_scale * sinusoidal(positions, self.width)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask)
        return Tokens(x, mask, (values.shape[1],))

"""Parallel 1-D convolutions of several widths over a text's tokens.

Kim, "Convolutional neural networks for sentence classification" (EMNLP 2014): filters that look for phrases of 3, 4
and 5 tokens, rectified; each filter's largest response over the text is a feature, with dropout 0.5. What matters is
that a phrase occurs, not where. Fast and strong on short texts; nothing relates what lies further apart than a
filter's width, unless the fusion attends to one token per position.

Windows reach over a text's two ends into zeros, as Kim's do, so that a text shorter than a filter has features
too; they are the same zeros however far a batch is padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["TextCNN", "TextCNNConfig"]


@dataclass(frozen=True, kw_only=True)
class TextCNNConfig(EncoderConfig):
    """Parallel convolutions over the tokens (Kim 2014), trained from scratch.

    Attributes:
        widths: The filters' widths in tokens.
        num_filters: Filters of each width.
        embedding_size: Width of the token embeddings.
        dropout: On the features.
        output: max gives one token, each filter's largest response over the text; positions gives the responses at
            every token.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["text_cnn"] = "text_cnn"
    widths: tuple[int, ...] = (3, 4, 5)
    num_filters: PositiveInt = 100
    embedding_size: PositiveInt = 128
    dropout: FractionBelowOne = 0.5
    output: Literal["max", "positions"] = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or min(self.widths) < 1:
            raise ConfigError(f"widths: found {list(self.widths)}, expected one or more, each at least 1")


class TextCNN(Encoder, config=TextCNNConfig):
    """Token embeddings, a convolution of each width, a projection to the model's width."""

    def __init__(self, config: TextCNNConfig, column: TextColumn, width: int) -> None:
        super().__init__(column, width)
        self.config = config
        self.embedding = nn.Embedding(column.vocabulary_size, config.embedding_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_size, config.num_filters, size) for size in config.widths
        )
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(config.num_filters * len(config.widths), width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        length = values.shape[1]
        mask = torch.arange(length, device=values.device) < lengths[:, None]
        embedded = (self.embedding(values * mask) * mask[..., None]).transpose(1, 2)
        responses = []
        for size, convolution in zip(self.config.widths, self.convolutions, strict=True):
            responses.append(convolution(F.pad(embedded, ((size - 1) // 2, size // 2))))
        if self.config.output == "positions":
            features = F.relu(torch.cat(responses, dim=1)).transpose(1, 2)  # [items, length, filters]
            return Tokens(self.projection(self.dropout(features)), mask, (length,))
        # Rectified after the maximum, which is the same and a length's times less work: so 0 may stand for padding.
        largest = torch.cat([(response * mask[:, None]).amax(dim=2) for response in responses], dim=1)
        return Tokens(self.projection(self.dropout(F.relu(largest)))[:, None], (lengths > 0)[:, None], (1,))

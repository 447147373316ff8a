"""A recurrent network over a text's tokens: LSTM or GRU, in one or both directions.

Hochreiter and Schmidhuber, "Long short-term memory" (1997); Cho et al., "Learning phrase representations using RNN
encoder-decoder" (2014, the GRU); both directions after Schuster and Paliwal (1997), padding apart from both (see
`layers.recurrent`).

The trade-off: cost is linear in length and order is built in, so it needs less data than a transformer; but its steps
run one after the other, and what lies a hundred tokens apart hardly meets.
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
from polysense.nn.layers.recurrent import BidirectionalRNN

__all__ = ["TextRNN", "TextRNNConfig"]


@dataclass(frozen=True, kw_only=True)
class TextRNNConfig(EncoderConfig):
    """An LSTM or GRU over the tokens, trained from scratch.

    Attributes:
        cell: lstm or gru.
        bidirectional: Whether a second network reads each text from its end.
        num_layers: Layers, each of which reads the states of the one below.
        embedding_size: Width of the token embeddings.
        hidden_size: Width of the state, in each direction.
        dropout: On the embeddings, between layers and on the states.
        output: positions gives the state at every token; last gives one token, the last state of each direction in
            the top layer.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["text_rnn"] = "text_rnn"
    cell: Literal["lstm", "gru"] = "lstm"
    bidirectional: bool = True
    num_layers: PositiveInt = 1
    embedding_size: PositiveInt = 128
    hidden_size: PositiveInt = 128
    dropout: FractionBelowOne = 0.1
    output: Literal["positions", "last"] = "positions"


class TextRNN(Encoder, config=TextRNNConfig):
    """Token embeddings, recurrent layers, a projection to the model's width."""

    def __init__(self, config: TextRNNConfig, column: TextColumn, width: int) -> None:
        super().__init__(column, width)
        self.config = config
        self.embedding = nn.Embedding(column.vocabulary_size, config.embedding_size)
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        size = config.hidden_size * (2 if config.bidirectional else 1)
        self.rnn = BidirectionalRNN(
            cell, config.embedding_size, config.hidden_size, config.num_layers, config.dropout, config.bidirectional
        )
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(size, width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        length, hidden = values.shape[1], self.config.hidden_size
        mask = torch.arange(length, device=values.device) < lengths[:, None]
        states = self.dropout(self.rnn(self.dropout(self.embedding(values * mask)), lengths))
        if self.config.output == "positions":
            return Tokens(self.projection(states), mask, (length,))
        # The forward direction ends at the last token, the backward one at the first.
        end = (lengths.clamp(min=1) - 1)[:, None, None].expand(-1, -1, hidden)
        last = torch.cat([states[..., :hidden].gather(1, end), states[:, :1, hidden:]], dim=2)
        return Tokens(self.projection(last), (lengths > 0)[:, None], (1,))

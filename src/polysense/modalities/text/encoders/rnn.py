"""A recurrent network over a text's tokens: LSTM or GRU, in one or both directions.

Hochreiter and Schmidhuber, "Long short-term memory" (1997); Cho et al., "Learning phrase representations using RNN
encoder-decoder" (2014, the GRU); both directions after Schuster and Paliwal (1997). The backward direction reads each
text reversed in place, from its own last token, so padding comes after the text in both directions and never enters a
state: the states are those of torch's packed sequences, without the packing, which takes about three times as long on
a CPU and waits for a GPU.

The trade-off: cost is linear in length and order is built in, so it needs less data than a transformer; but its steps
run one after the other, and what lies a hundred tokens apart hardly meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysense.config.limits import PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

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
    dropout: float = 0.1
    output: Literal["positions", "last"] = "positions"


class TextRNN(Encoder, config=TextRNNConfig):
    """Token embeddings, recurrent layers, a projection to the model's width.

    Attributes:
        forwards: Per layer, the network that reads from the first token on.
        backwards: Likewise from the last token back; none unless bidirectional.
    """

    input_name = "embedding"

    def __init__(self, config: TextRNNConfig, column: TextColumn, width: int) -> None:
        super().__init__(column, width)
        self.config = config
        self.embedding = nn.Embedding(column.vocabulary_size, config.embedding_size)
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        size = config.hidden_size * (2 if config.bidirectional else 1)
        sizes = [config.embedding_size] + [size] * (config.num_layers - 1)
        self.forwards = nn.ModuleList(cell(inputs, config.hidden_size, batch_first=True) for inputs in sizes)
        self.backwards = nn.ModuleList(
            cell(inputs, config.hidden_size, batch_first=True) for inputs in sizes if config.bidirectional
        )
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(size, width)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        length, hidden = values.shape[1], self.config.hidden_size
        positions = torch.arange(length, device=values.device)
        mask = positions < lengths[:, None]
        mirror = torch.where(mask, lengths[:, None] - 1 - positions, positions)[..., None]
        states = self.dropout(self.embedding(values * mask))
        for i, forwards in enumerate(self.forwards):
            outputs = [forwards(states)[0]]
            if self.config.bidirectional:
                outputs.append(_along(self.backwards[i](_along(states, mirror))[0], mirror))
            states = self.dropout(torch.cat(outputs, dim=2))
        if self.config.output == "positions":
            return Tokens(self.projection(states), mask, (length,))
        # The forward direction ends at the last token, the backward one at the first.
        last = _along(states[..., :hidden], (lengths.clamp(min=1) - 1)[:, None, None])
        last = torch.cat([last, states[:, :1, hidden:]], dim=2)
        return Tokens(self.projection(last), (lengths > 0)[:, None], (1,))


def _along(
    states: Float[Tensor, "items length width"], index: Int[Tensor, "items other 1"]
) -> Float[Tensor, "items other width"]:
    """The states at these positions."""
    return states.gather(1, index.expand(-1, -1, states.shape[2]))

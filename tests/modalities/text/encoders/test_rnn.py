"""The states equal torch's on each text alone and packed; what is outside a text never enters one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from polysense.errors import ConfigError
from polysense.modalities.text.encoders.rnn import TextRNN, TextRNNConfig
from polysense.modalities.text.record import TextColumn

COLUMN = TextColumn(name="note", vocabulary_size=20)
VALUES = torch.randint(0, 20, (4, 9), dtype=torch.int32, generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([9, 1, 4, 7])


def reference(encoder: TextRNN) -> nn.RNNBase:
    """torch's own stacked network with the encoder's weights."""
    config = encoder.config
    made = (nn.LSTM if config.cell == "lstm" else nn.GRU)(
        config.embedding_size,
        config.hidden_size,
        num_layers=config.num_layers,
        bidirectional=config.bidirectional,
        batch_first=True,
    )
    weights = {}
    for suffix, layers in (("", encoder.rnn.forwards), ("_reverse", encoder.rnn.backwards)):
        for i, layer in enumerate(layers):
            for name, weight in layer.state_dict().items():
                weights[name.removesuffix("l0") + f"l{i}{suffix}"] = weight
    made.load_state_dict(weights)
    return made


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_states_are_torchs_on_the_unpadded_text(
    cell: Literal["lstm", "gru"], num_layers: int, bidirectional: bool
) -> None:
    torch.manual_seed(0)
    config = TextRNNConfig(
        cell=cell, num_layers=num_layers, bidirectional=bidirectional, embedding_size=6, hidden_size=5
    )
    encoder = config.build(COLUMN, 8).eval()
    last = replace(config, output="last").build(COLUMN, 8).eval()
    last.load_state_dict(encoder.state_dict())
    torchs = reference(encoder)
    positions = encoder.encode_items(VALUES, LENGTHS, None)
    assert positions.mask.sum(dim=1).tolist() == LENGTHS.tolist()
    for i, length in enumerate(LENGTHS.tolist()):
        states, final = torchs(encoder.embedding(VALUES[i : i + 1, :length].long()))
        torch.testing.assert_close(positions.values[i, :length], encoder.projection(states)[0], atol=1e-6, rtol=1e-5)
        final = final[0] if cell == "lstm" else final  # [layers * directions, 1, hidden]
        top = final[-2:] if bidirectional else final[-1:]
        found = last.encode_items(VALUES, LENGTHS, None).values[i, 0]
        torch.testing.assert_close(found, last.projection(top[:, 0].flatten()), atol=1e-6, rtol=1e-5)


def test_a_packed_batch_of_torchs_has_the_same_states_and_gradients() -> None:
    torch.manual_seed(0)
    encoder = TextRNNConfig(num_layers=2, embedding_size=6, hidden_size=5, dropout=0.0).build(COLUMN, 8)
    torchs = reference(encoder)
    ours = encoder.encode_items(VALUES, LENGTHS, None)
    packed = pack_padded_sequence(encoder.embedding(VALUES), LENGTHS, batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(torchs(packed)[0], batch_first=True)
    theirs = encoder.projection(states)
    torch.testing.assert_close(ours.values[ours.mask], theirs[ours.mask], atol=1e-6, rtol=1e-5)
    (ours.values[ours.mask].sin().sum() + theirs[ours.mask].sin().sum()).backward()
    for suffix, layers in (("", encoder.rnn.forwards), ("_reverse", encoder.rnn.backwards)):
        for i, layer in enumerate(layers):
            for name in ("weight_ih", "weight_hh", "bias_ih"):
                expected = getattr(torchs, f"{name}_l{i}{suffix}").grad
                torch.testing.assert_close(getattr(layer, f"{name}_l0").grad, expected, atol=1e-5, rtol=1e-4)


def test_it_knows_order() -> None:
    torch.manual_seed(0)
    encoder = TextRNNConfig(embedding_size=6, hidden_size=5, output="last").build(COLUMN, 8).eval()
    values = torch.tensor([[3, 4, 5], [5, 4, 3]], dtype=torch.int32)
    tokens = encoder.encode_items(values, torch.tensor([3, 3]), None)
    assert not torch.allclose(tokens.values[0], tokens.values[1], atol=1e-3)


@pytest.mark.parametrize("field", ["num_layers", "embedding_size", "hidden_size"])
def test_senseless_sizes_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"{field}.*found 0"):
        TextRNNConfig(**{field: 0})

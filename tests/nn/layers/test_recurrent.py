"""The states and gradients are those of torch's layers on packed sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from polysense.nn.layers.recurrent import BidirectionalRNN, mirrored


def torchs(ours: BidirectionalRNN, cell: Any, num_inputs: int, hidden: int) -> Any:
    """torch's own layers with the same weights."""
    num_layers = len(ours.forwards)
    made = cell(num_inputs, hidden, num_layers, batch_first=True, bidirectional=True)
    weights = {}
    for suffix, layers in (("", ours.forwards), ("_reverse", ours.backwards)):
        for index, layer in enumerate(layers):
            for name, weight in layer.state_dict().items():
                weights[name.removesuffix("l0") + f"l{index}{suffix}"] = weight
    made.load_state_dict(weights)
    return made


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_states_and_gradients_are_those_of_packed_sequences(cell: Any, num_layers: int) -> None:
    torch.manual_seed(0)
    ours = BidirectionalRNN(cell, 6, 5, num_layers)
    theirs = torchs(ours, cell, 6, 5)
    lengths = torch.tensor([7, 3, 1, 5])
    x = torch.randn(4, 7, 6)
    valid = torch.arange(7) < lengths[:, None]
    found = ours(x.masked_fill(~valid[..., None], 1e3), lengths)[valid]
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(theirs(packed)[0], batch_first=True)[0][valid]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    (found.sin().sum() + expected.sin().sum()).backward()
    for suffix, layers in (("", ours.forwards), ("_reverse", ours.backwards)):
        for index, layer in enumerate(layers):
            for name, weight in layer.named_parameters():
                gradient = theirs.get_parameter(name.removesuffix("l0") + f"l{index}{suffix}").grad
                torch.testing.assert_close(weight.grad, gradient, atol=1e-5, rtol=1e-4)


def test_an_empty_sequence_changes_nothing_and_has_finite_gradients() -> None:
    torch.manual_seed(0)
    layers = BidirectionalRNN(nn.GRU, 3, 4, 1)
    x = torch.randn(2, 5, 3)
    with_empty = layers(x, torch.tensor([5, 0]))
    torch.testing.assert_close(with_empty[0], layers(x[:1], torch.tensor([5]))[0], atol=1e-6, rtol=1e-5)
    with_empty.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layers.parameters())


def test_mirroring_twice_is_nothing() -> None:
    x = torch.arange(10.0).view(2, 5, 1)
    lengths = torch.tensor([5, 2])
    assert mirrored(x, lengths)[1, :, 0].tolist() == [6, 5, 7, 8, 9]
    assert torch.equal(mirrored(mirrored(x, lengths), lengths), x)

"""Kim's convolutions and maximum over time, equal to torch's on each text alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polysense.errors import ConfigError
from polysense.modalities.text.encoders.cnn import TextCNN, TextCNNConfig
from polysense.modalities.text.record import TextColumn

COLUMN = TextColumn(name="note", vocabulary_size=20)
VALUES = torch.randint(0, 20, (4, 9), dtype=torch.int32, generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([9, 1, 4, 7])


def responses(encoder: TextCNN, ids: torch.Tensor) -> torch.Tensor:
    """[filters, tokens] of one text, the window at a token centered on it, zeros around the text."""
    embedded = encoder.embedding(ids.long()).T
    found = []
    for convolution in encoder.convolutions:
        weight, bias = convolution.weight, convolution.bias
        size = weight.shape[2]
        around = F.pad(embedded, ((size - 1) // 2, size // 2))
        windows = around.unfold(1, size, 1)  # [channels, tokens, size]
        found.append(F.relu(torch.einsum("ctk,fck->ft", windows, weight) + bias[:, None]))
    return torch.cat(found)


def test_the_token_is_each_filters_largest_response() -> None:
    torch.manual_seed(0)
    encoder = TextCNNConfig(num_filters=6, embedding_size=5).build(COLUMN, 8).eval()
    assert [convolution.kernel_size[0] for convolution in encoder.convolutions] == [3, 4, 5]
    tokens = encoder.encode_items(VALUES, LENGTHS, None)
    for i, length in enumerate(LENGTHS.tolist()):
        largest = responses(encoder, VALUES[i, :length]).amax(dim=1)
        torch.testing.assert_close(tokens.values[i, 0], encoder.projection(largest), atol=1e-5, rtol=1e-5)


def test_positions_are_the_responses_at_every_token() -> None:
    torch.manual_seed(0)
    encoder = TextCNNConfig(num_filters=6, embedding_size=5, output="positions").build(COLUMN, 8).eval()
    tokens = encoder.encode_items(VALUES, LENGTHS, None)
    assert tokens.mask.sum(dim=1).tolist() == LENGTHS.tolist()
    for i, length in enumerate(LENGTHS.tolist()):
        expected = encoder.projection(responses(encoder, VALUES[i, :length]).T)
        torch.testing.assert_close(tokens.values[i, :length], expected, atol=1e-5, rtol=1e-5)


def test_a_phrase_counts_wherever_it_stands() -> None:
    torch.manual_seed(0)
    encoder = TextCNNConfig(widths=(3,), num_filters=1, embedding_size=5).build(COLUMN, 4).eval()
    phrase = torch.tensor([3, 4, 5])
    with torch.no_grad():  # a filter that is the phrase itself
        encoder.convolutions[0].weight.copy_(encoder.embedding(phrase).T[None])
    values = torch.full((2, 12), 9, dtype=torch.int32)
    values[0, 2:5] = phrase
    values[1, 7:10] = phrase
    tokens = encoder.encode_items(values, torch.tensor([12, 12]), None)
    torch.testing.assert_close(tokens.values[0], tokens.values[1])


def test_senseless_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="widths"):
        TextCNNConfig(widths=())
    with pytest.raises(ConfigError, match=r"num_filters.*found 0"):
        TextCNNConfig(num_filters=0)

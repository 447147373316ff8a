"""The convolutional LSTM against torch's own layers on one clip, and what the LSTM adds to the convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.rnn import AudioCNNLSTMConfig
from polysense.modalities.audio.record import AudioColumn

COLUMN = AudioColumn(name="speech", sample_rate=8000, typical_length=8000)


def clip(length: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9000, 9000, (1, 1, length), generator=generator).to(torch.int16)


def test_it_is_convolutions_then_a_bidirectional_lstm() -> None:
    encoder = AudioCNNLSTMConfig(num_layers=2).build(COLUMN, 16).eval()
    length = 80 * 4 * 30  # 30 tokens, nothing left over
    tokens = encoder(ColumnBatch(values=clip(length), lengths=torch.tensor([[length]])))
    spectrogram, _ = encoder.spectrogram(clip(length)[:, 0], torch.tensor([length]), None)
    x = F.max_pool2d(F.relu(encoder.stem(spectrogram[:, None])), 2)
    x = encoder.stages[1](F.max_pool2d(encoder.stages[0](x), (2, 1)))
    hidden = encoder.lstm(x.permute(0, 3, 1, 2).flatten(2), torch.tensor([30]))
    assert tokens.mask.all()
    torch.testing.assert_close(tokens.values, encoder.projection(hidden), rtol=1e-4, atol=1e-5)


def test_every_token_has_heard_the_whole_clip() -> None:
    torch.manual_seed(0)
    encoder = AudioCNNLSTMConfig().build(COLUMN, 16).double().eval()
    encoder.spectrogram.float()
    forwards, length = encoder.lstm.forwards[0], torch.tensor([40])
    torch.nn.init.eye_(forwards.weight_hh_l0[:8])  # an LSTM that keeps what it hears
    steps = torch.randn(1, 40, forwards.input_size, dtype=torch.float64)
    changed = steps.clone()
    changed[0, 20] += 1.0
    with torch.no_grad():
        difference = (encoder.lstm(steps, length) - encoder.lstm(changed, length)).abs().amax(dim=2)[0]
    assert (difference > 0).all()


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_layers must be at least 1"):
        AudioCNNLSTMConfig(num_layers=0)
    assert AudioCNNLSTMConfig(lstm_width=5).build(COLUMN, 16).lstm.forwards[0].hidden_size == 5

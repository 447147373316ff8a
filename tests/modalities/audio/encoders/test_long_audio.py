"""Ten minutes of sound through every encoder of sound: no cut, and no cost that grows with the square of the length."""

from __future__ import annotations

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.modalities.audio.encoders.autoencoder import AudioAutoencoderConfig
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.audio.encoders.rnn import AudioCNNLSTMConfig
from polysense.modalities.audio.encoders.transformer import AudioTransformerConfig
from polysense.modalities.audio.encoders.waveform_cnn import WaveformCNNConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.encoder import EncoderConfig

NUM_SAMPLES = 600 * 16_000
COLUMN = AudioColumn(name="talk", sample_rate=16_000, typical_length=NUM_SAMPLES)
CONFIGS: list[EncoderConfig] = [
    AudioCNNConfig(),
    AudioCNNLSTMConfig(),
    AudioTransformerConfig(),
    WaveformCNNConfig(channels=16),
    AudioAutoencoderConfig(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_ten_minutes_are_heard_to_the_end(config: EncoderConfig) -> None:
    torch.manual_seed(0)
    encoder = config.build(COLUMN, 16).eval()
    values = torch.randint(-9000, 9000, (1, 1, NUM_SAMPLES), generator=torch.Generator().manual_seed(0))
    values = values.to(torch.int16)
    lengths = torch.tensor([[NUM_SAMPLES]])
    with torch.inference_mode():
        tokens = encoder(ColumnBatch(values=values, lengths=lengths))
        values[..., -800:] = 0
        other = encoder(ColumnBatch(values=values, lengths=lengths))
    assert tokens.mask.all()
    assert tokens.values.shape[1] >= 600 * 10
    assert not torch.allclose(tokens.values[0, -1], other.values[0, -1], atol=1e-4)

"""The waveform network against torch's own layers, and that it hears pitch without being given a spectrogram."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.modalities.audio.encoders.waveform_cnn import WaveformCNNConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.nn.layers.transformer import sinusoidal

COLUMN = AudioColumn(name="speech", sample_rate=8000, typical_length=8000)


def test_it_is_m5_with_group_normalization() -> None:
    encoder = WaveformCNNConfig().build(COLUMN, 16).eval()
    assert (encoder.kernel, encoder.stride) == (80, 4)  # as in the paper, which works at 8 kHz
    assert [layer.out_channels for layer in encoder.layers] == [32, 64, 128]
    length = 4 * 64 * 10
    values = torch.randint(-9000, 9000, (1, 1, length), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    tokens = encoder(ColumnBatch(values=values, lengths=torch.tensor([[length]])))
    signal = values.double()
    signal = ((signal - signal.mean()) / signal.std(correction=0)).float()
    x = F.conv1d(signal, encoder.filters.weight, stride=4, padding=38)
    x = F.relu(F.group_norm(x, 4, encoder.norms[0].weight, encoder.norms[0].bias))
    for layer, norm in zip(encoder.layers, encoder.norms[1:], strict=True):
        x = F.conv1d(F.max_pool1d(x, 4), layer.weight, padding=1)
        x = F.relu(F.group_norm(x, norm.num_groups, norm.weight, norm.bias))
    expected = encoder.projection(x.transpose(1, 2)) + 0.1 * sinusoidal(torch.arange(10), 16)
    torch.testing.assert_close(tokens.values, expected, rtol=1e-4, atol=1e-5)


def test_recording_level_and_offset_are_taken_out() -> None:
    encoder = WaveformCNNConfig().build(COLUMN, 16).eval()
    values = torch.randint(-2000, 2000, (1, 1, 4000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths = torch.tensor([[4000]])
    tokens = encoder(ColumnBatch(values=values, lengths=lengths))
    louder = encoder(ColumnBatch(values=values * 4 + 100, lengths=lengths))
    torch.testing.assert_close(tokens.values, louder.values, rtol=1e-3, atol=1e-3)


def test_it_learns_to_tell_pitches_apart() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    encoder, head = WaveformCNNConfig(channels=8, dropout=0.0).build(COLUMN, 16), torch.nn.Linear(16, 2)
    label = torch.arange(32) % 2
    frequency = torch.where(label == 1, 440.0, 300.0)[:, None] * (1 + 0.05 * torch.rand(32, 1, generator=generator))
    phase = torch.rand(32, 1, generator=generator)
    wave = torch.sin(2 * torch.pi * (frequency * torch.arange(2000) / 8000 + phase))
    wave = wave + 0.3 * torch.randn(wave.shape, generator=generator)
    column = ColumnBatch(values=(wave * 5000).to(torch.int16)[:, None], lengths=torch.full((32, 1), 2000))
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(head(encoder(column).mean()), label).backward()
        optimizer.step()
    assert (head(encoder.eval()(column).mean()).argmax(dim=1) == label).float().mean() > 0.95

"""What every encoder of sound promises: rows apart, padding unseen, no clip too short or too long, absence harmless."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.autoencoder import AudioAutoencoderConfig
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.audio.encoders.conformer import ConformerConfig
from polysense.modalities.audio.encoders.rnn import AudioCNNLSTMConfig
from polysense.modalities.audio.encoders.transformer import AudioTransformerConfig
from polysense.modalities.audio.encoders.waveform_cnn import WaveformCNNConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Encoder, EncoderConfig

CONFIGS: list[EncoderConfig] = [
    AudioCNNConfig(),
    AudioCNNConfig(positions="own"),
    AudioCNNLSTMConfig(num_layers=2),
    # Windows of 3 tokens: clips here are seen whole, through a mask, and in blocks.
    AudioTransformerConfig(attention_seconds=0.12, num_layers=2),
    AudioTransformerConfig(),
    ConformerConfig(attention_seconds=0.12, num_layers=2, kernel_size=5),
    ConformerConfig(num_layers=2),
    WaveformCNNConfig(),
    AudioAutoencoderConfig(),
    AudioAutoencoderConfig(detach=True),
]
EVERY = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
COLUMN = AudioColumn(name="speech", sample_rate=8000, typical_length=8000)


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(-9000, 9000, shape, generator=torch.Generator().manual_seed(seed)).to(torch.int16)


def build(config: EncoderConfig, column: Column = COLUMN, width: int = 16) -> Encoder:
    torch.manual_seed(0)
    encoder = config.build(column, width)
    # Residual blocks start as the identity, which would hide what their second half does.
    for parameter in encoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    return encoder


@EVERY
def test_padding_and_batch_mates_change_no_row(config: EncoderConfig) -> None:
    encoder = build(config).eval()
    values = clips(5, 1, 8000)
    lengths = torch.tensor([[8000], [3111], [400], [1], [0]])
    tokens = encoder(ColumnBatch(values=values, lengths=lengths))
    assert tokens.grid == (tokens.values.shape[1],)
    for row, length in enumerate(lengths[:, 0].tolist()):
        if not length:
            continue
        count = int(tokens.mask[row].sum())
        assert tokens.mask[row, :count].all()
        assert count >= 1
        longer = torch.cat([values[row : row + 1, :, :length], clips(1, 1, 2777, seed=9)], dim=2)
        for alone in (values[row : row + 1, :, :length], longer):
            other = encoder(ColumnBatch(values=alone, lengths=lengths[row : row + 1]))
            assert int(other.mask.sum()) == count
            torch.testing.assert_close(other.values[0, :count], tokens.values[row, :count], rtol=1e-5, atol=1e-5)


@EVERY
def test_every_valid_sample_counts(config: EncoderConfig) -> None:
    encoder = build(config).eval()
    values, lengths = clips(1, 1, 8000), torch.tensor([[7990]])
    tokens = encoder(ColumnBatch(values=values, lengths=lengths))
    changed = values.clone()
    changed[..., 7900:7990] = 0
    last = int(tokens.mask.sum()) - 1
    other = encoder(ColumnBatch(values=changed, lengths=lengths))
    assert not torch.allclose(tokens.values[0, last], other.values[0, last], atol=1e-4)


@EVERY
def test_absence_is_masked_finite_and_every_parameter_has_a_gradient(config: EncoderConfig) -> None:
    for lengths in (torch.tensor([[4000], [0]]), torch.zeros(2, 1, dtype=torch.int64)):
        encoder = build(config).train()
        column = ColumnBatch(values=clips(2, 1, 4000), lengths=lengths, keys=torch.arange(2))
        tokens = encoder(column)
        assert tokens.present.tolist() == (lengths[:, 0] > 0).tolist()
        assert tokens.values.isfinite().all()
        extra = encoder.own_losses(column, tokens)
        assert set(extra) == set(encoder.auxiliary_losses)
        loss = (tokens.values.square() * tokens.mask[..., None]).sum() + sum(v.sum() for v in extra.values())
        loss.backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any() == (lengths > 0).any(), name


@EVERY
def test_a_column_without_a_sample_is_absent(config: EncoderConfig) -> None:
    tokens = build(config).eval()(ColumnBatch(values=clips(2, 1, 0), lengths=torch.zeros(2, 1, dtype=torch.int64)))
    assert not tokens.mask.any()
    assert tokens.values.isfinite().all()


@EVERY
def test_silence_is_finite(config: EncoderConfig) -> None:
    column = ColumnBatch(values=torch.zeros(1, 1, 4000, dtype=torch.int16), lengths=torch.tensor([[4000]]))
    encoder = build(config)
    tokens = encoder(column)
    assert tokens.values.isfinite().all()
    loss = tokens.values.sum() + sum(value.sum() for value in encoder.own_losses(column, tokens).values())
    loss.backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@EVERY
def test_several_clips_in_a_cell(config: EncoderConfig) -> None:
    encoder = build(config, dataclasses.replace(COLUMN, multiple=True, max_items=3))
    lengths = torch.tensor([[4000, 900, 0], [100, 0, 0]])
    column = ColumnBatch(values=clips(2, 3, 4000), lengths=lengths, keys=torch.arange(2))
    tokens = encoder(column)
    assert tokens.grid[0] == 3
    assert tokens.mask.view(2, 3, -1).any(dim=2).tolist() == (lengths > 0).tolist()
    for loss in encoder.own_losses(column, tokens).values():
        assert loss.shape == (2,)
        assert (loss > 0).all()


@EVERY
@pytest.mark.parametrize("rate", [4000, 11025, 44100])
def test_any_sample_rate(config: EncoderConfig, rate: int) -> None:
    column = dataclasses.replace(COLUMN, sample_rate=rate, typical_length=rate)
    tokens = build(config, column).eval()(ColumnBatch(values=clips(1, 1, rate), lengths=torch.tensor([[rate]])))
    assert tokens.mask.all()
    assert 10 <= tokens.values.shape[1] <= 40
    assert tokens.values.isfinite().all()


@EVERY
def test_training_draws_are_a_rows_own(config: EncoderConfig) -> None:
    encoder = build(config).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.LSTM):
            module.dropout = 0.0
    values, lengths = clips(2, 1, 8000), torch.tensor([[8000], [5000]])
    keys = torch.tensor([5, 9])
    both = encoder(ColumnBatch(values=values, lengths=lengths, keys=keys))
    alone = encoder(ColumnBatch(values=values[1:], lengths=lengths[1:], keys=keys[1:]))
    count = int(both.mask[1].sum())
    torch.testing.assert_close(both.values[1, :count], alone.values[0, :count], rtol=1e-5, atol=1e-5)
    plain = encoder(ColumnBatch(values=values, lengths=lengths))
    assert config.type == "waveform_cnn" or not torch.allclose(both.values, plain.values, atol=1e-3)


@EVERY
def test_low_precision(config: EncoderConfig) -> None:
    encoder = build(config).train()
    column = ColumnBatch(values=clips(2, 1, 4000), lengths=torch.tensor([[4000], [2000]]))
    with torch.autocast("cpu", torch.bfloat16):
        tokens = encoder(column)
        loss = tokens.values.float().square().mean() + sum(
            value.sum() for value in encoder.own_losses(column, tokens).values()
        )
    loss.backward()
    full = encoder.eval()(column)
    assert loss.isfinite()
    assert full.values.isfinite().all()


def test_only_sound_is_taken() -> None:
    for config in CONFIGS:
        with pytest.raises(ConfigError, match="takes audio"):
            config.build(TextColumn(name="note", vocabulary_size=5), 16)

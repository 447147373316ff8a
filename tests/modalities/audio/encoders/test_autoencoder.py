"""The autoencoder restores what it was trained on, and teaches the encoder with or without the task."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.autoencoder import AudioAutoencoder, AudioAutoencoderConfig
from polysense.modalities.audio.record import AudioColumn

COLUMN = AudioColumn(name="speech", sample_rate=8000, typical_length=8000)


def build(width: int = 32, column: Column = COLUMN, **options: object) -> AudioAutoencoder:
    torch.manual_seed(0)
    return AudioAutoencoderConfig(**options).build(column, width)  # type: ignore[arg-type]


def sweeps(num: int, length: int) -> ColumnBatch:
    """Tones that rise or fall, each its own way, so that no one spectrum describes them."""
    generator = torch.Generator().manual_seed(0)
    start, end = (200 + 3000 * torch.rand(num, 1, generator=generator) for _ in range(2))
    time = torch.arange(length) / 8000
    phase = 2 * torch.pi * (start * time + (end - start) * time.square() / (2 * length / 8000))
    noise = 0.05 * torch.randn(num, length, generator=generator)
    values = ((torch.sin(phase) + noise) * 8000).to(torch.int16)
    return ColumnBatch(values=values[:, None], lengths=torch.full((num, 1), length))


def squared_error(reconstructed: Tensor, target: Tensor, valid: Tensor) -> float:
    return float(((reconstructed - target).square().mean(dim=1) * valid).sum() / valid.sum())


@pytest.mark.parametrize("detach", [False, True])
def test_it_learns_to_restore_far_better_than_the_mean(detach: bool) -> None:
    encoder, column = build(detach=detach, dropout=0.0), sweeps(8, 6000)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        encoder.auxiliary(column, encoder(column))["reconstruction"].mean().backward()
        optimizer.step()
    with torch.no_grad():
        reconstructed, target, valid = encoder.eval().restore(column.values[:, 0], column.lengths[:, 0])
    each_bands_mean = target.mean(dim=(0, 2), keepdim=True)
    assert squared_error(reconstructed, target, valid) < 0.5 * squared_error(each_bands_mean, target, valid)


def test_the_loss_is_the_error_per_valid_frame_of_each_row() -> None:
    encoder = build(column=dataclasses.replace(COLUMN, multiple=True, max_items=2), dropout=0.0).train()
    encoder.ordered = False
    values = torch.randint(-9000, 9000, (3, 2, 4000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths = torch.tensor([[4000, 1000], [2345, 0], [0, 0]])
    column = ColumnBatch(values=values, lengths=lengths)
    loss = encoder.auxiliary(column, encoder(column))["reconstruction"]
    with torch.no_grad():
        reconstructed, target, valid = encoder.restore(values.flatten(0, 1), lengths.flatten())
    per_frame = (reconstructed - target).square().mean(dim=1)
    items_of_rows = (slice(0, 2), slice(2, 4))
    expected = [float(per_frame[items][valid[items]].mean()) for items in items_of_rows]
    torch.testing.assert_close(loss, torch.tensor([*expected, 0.0]))
    alone = ColumnBatch(values=values[1:2, :, :2345], lengths=lengths[1:2])
    torch.testing.assert_close(encoder.auxiliary(alone, encoder(alone))["reconstruction"], loss[1:2])


def test_the_target_is_the_plain_spectrogram_though_the_encoder_sees_an_augmented_one() -> None:
    encoder, column = build(dropout=0.0).train(), sweeps(2, 4000)
    drawn = ColumnBatch(values=column.values, lengths=column.lengths, keys=torch.tensor([1, 2]))
    tokens = encoder(drawn)
    assert not torch.allclose(tokens.values, encoder(column).values)
    target, valid = encoder.spectrogram.log_mel(column.values[:, 0], column.lengths[:, 0])
    reconstructed = encoder.decoder(tokens.values, tokens.mask)[..., : target.shape[2]]
    expected = ((reconstructed - target).square().mean(dim=1) * valid).sum(dim=1) / valid.sum(dim=1)
    torch.testing.assert_close(encoder.auxiliary(drawn, tokens)["reconstruction"], expected)


@pytest.mark.parametrize("detach", [False, True])
def test_detached_the_task_teaches_the_encoder_nothing(detach: bool) -> None:
    encoder, head, column = build(detach=detach), torch.nn.Linear(32, 2), sweeps(4, 4000)
    encoder.train()
    tokens = encoder(column)
    task = head(tokens.mean()).square().sum()
    names, parameters = zip(*encoder.named_parameters(), strict=True)
    from_task = torch.autograd.grad(task, [head.weight, *parameters], allow_unused=True, retain_graph=True)
    assert from_task[0].any()  # the task itself learns
    reached = {name for name, gradient in zip(names, from_task[1:], strict=True) if gradient is not None}
    assert reached == (set() if detach else {name for name in names if not name.startswith("decoder.")})
    reconstruction = encoder.auxiliary(column, tokens)["reconstruction"].sum()
    for name, gradient in zip(names, torch.autograd.grad(reconstruction, parameters), strict=True):
        assert gradient.any(), name


def test_prediction_needs_no_decoder() -> None:
    encoder, column = build().eval(), sweeps(2, 4000)
    before = encoder(column).values
    for parameter in encoder.decoder.parameters():
        parameter.data.fill_(float("nan"))
    assert torch.equal(encoder(column).values, before)


def test_the_code_is_as_narrow_as_it_says() -> None:
    encoder, column = build(width=32, code_width=3).eval(), sweeps(4, 8000)
    tokens = encoder(column).values
    steps = (tokens - tokens.mean(dim=0)).flatten(0, 1)  # without the positions, which are the same for all
    assert int(torch.linalg.matrix_rank(steps, atol=1e-3)) == 3


def test_a_decoder_that_would_not_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match="would leave the decoder untrained"):
        AudioAutoencoderConfig(reconstruction=0.0)

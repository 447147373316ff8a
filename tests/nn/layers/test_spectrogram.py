"""Log-mel against transformers' reference, and its independence of padding."""

from __future__ import annotations

import importlib

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.nn.layers.spectrogram import (
    AugmentedLogMel,
    LogMel,
    gain_bands,
    mel_filters,
    spec_augment,
    stretch_time,
    warp_frequency,
)


def test_mel_filters_equal_a_reference() -> None:
    audio_utils = importlib.import_module("transformers.audio_utils")
    expected = audio_utils.mel_filter_bank(257, 40, 0.0, 8000.0, 16000, norm=None, mel_scale="htk")
    np.testing.assert_allclose(mel_filters(257, 40, 16000).numpy(), expected, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 3000), extra=st.integers(0, 2000), seed=st.integers(0, 5))
def test_padding_and_what_it_holds_changes_nothing(length: int, extra: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    clip = torch.randint(-20000, 20000, (1, length), generator=generator).to(torch.int16)
    junk = torch.randint(-20000, 20000, (1, extra), generator=generator).to(torch.int16)
    log_mel = LogMel(8000, 32)
    lengths = torch.tensor([length])
    alone, valid = log_mel(clip, lengths)
    padded, padded_valid = log_mel(torch.cat([clip, junk], dim=1), lengths)
    frames = int(valid.sum())
    assert frames == -(-length // 80) == int(padded_valid.sum())
    torch.testing.assert_close(alone[..., :frames], padded[..., :frames], rtol=1e-4, atol=1e-4)
    assert not padded[..., frames:].any()


def test_a_tone_is_where_its_pitch_says() -> None:
    rate, frequency = 16000, 1000.0
    time = torch.arange(rate) / rate
    clip = (torch.sin(2 * torch.pi * frequency * time) * 10000).to(torch.int16)[None]
    spectrogram, _ = LogMel(rate, 64)(clip, torch.tensor([rate]))
    mel = 2595 * np.log10(1 + frequency / 700)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    expected = mel / (top / 65) - 1
    assert abs(float(spectrogram[0, :, 50].argmax()) - expected) < 1


def test_recording_level_is_taken_out() -> None:
    clip = torch.randint(-8000, 8000, (1, 4000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths = torch.tensor([4000])
    log_mel = LogMel(8000, 32)
    torch.testing.assert_close(log_mel(clip, lengths)[0], log_mel(clip * 4, lengths)[0], rtol=1e-3, atol=1e-3)


def test_silence_and_absence_are_finite() -> None:
    silent, valid = LogMel(8000, 32)(torch.zeros(2, 800, dtype=torch.int16), torch.tensor([800, 0]))
    assert silent.isfinite().all()
    assert not valid[1].any()


def test_spec_augment_masks_as_much_as_it_says_and_depends_on_its_own_draws() -> None:
    spectrogram = torch.ones(3, 40, 100)
    lengths = torch.tensor([100, 50, 100])
    draws = torch.rand(3, 16, generator=torch.Generator().manual_seed(0))
    masked = spec_augment(spectrogram, lengths, draws, 0.2, 0.25)
    alone = spec_augment(spectrogram[1:2], lengths[1:2], draws[1:2], 0.2, 0.25)
    assert torch.equal(masked[1:2], alone)
    kept_frames = masked.any(dim=1).sum(dim=1)
    assert (kept_frames >= 100 - 2 * 0.2 * lengths - 2).all()
    assert (masked.any(dim=2).sum(dim=1) >= 40 - 2 * 0.25 * 40 - 2).all()
    assert torch.equal(spec_augment(spectrogram, lengths, draws, 0.0, 0.0), spectrogram)


def test_warping_moves_a_peak_by_its_stretch_and_leaves_time_alone() -> None:
    spectrogram = torch.zeros(3, 40, 5)
    spectrogram[:, 20, 2] = 1.0
    warped = warp_frequency(spectrogram, torch.tensor([0.0, 0.5, 0.99999]), 0.25)
    assert warped.amax(dim=2).argmax(dim=1).tolist() == [27, 20, 16]
    assert not warped[:, :, [0, 1, 3, 4]].any()
    torch.testing.assert_close(warped[1], spectrogram[1])


def test_augmentation_is_warp_then_masks_in_training_and_nothing_at_prediction() -> None:
    clip = torch.randint(-8000, 8000, (2, 4000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths, draws = torch.tensor([4000, 1500]), torch.rand(2, 16, generator=torch.Generator().manual_seed(1))
    plain, valid = LogMel(8000, 32)(clip, lengths)
    layer = AugmentedLogMel(8000, 32, max_time_mask=0.2, max_frequency_mask=0.3, max_frequency_warp=0.1)
    expected = spec_augment(warp_frequency(plain, draws[:, 8], 0.1), valid.sum(dim=1), draws, 0.2, 0.3)
    assert torch.equal(layer.train()(clip, lengths, draws)[0], expected)
    assert not torch.equal(expected, plain)
    assert torch.equal(layer(clip, lengths, None)[0], plain)
    assert torch.equal(layer.eval()(clip, lengths, draws)[0], plain)
    assert torch.equal(AugmentedLogMel(8000, 32).train()(clip, lengths, draws)[0], plain)


def test_time_is_stretched_about_both_ends() -> None:
    """A ramp stays a ramp from its first value to its last, in more or fewer frames; an absent clip stays absent."""
    frames = torch.tensor([40, 40, 40, 12, 0, 1])
    valid = torch.arange(40) < frames[:, None]
    ramp = torch.where(valid, torch.arange(40.0), 0.0)[:, None, :].expand(-1, 3, -1)
    draws = torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5, 0.0])
    stretched, retained = stretch_time(ramp, valid, draws, 0.25)
    assert retained.sum(dim=1).tolist() == [32, 40, 50, 12, 0, 1]
    for row, (before, after) in enumerate(zip([40, 40, 40, 12], [32, 40, 50, 12], strict=True)):
        expected = torch.linspace(0, before - 1, after)
        torch.testing.assert_close(stretched[row, 1, :after], expected, rtol=1e-5, atol=1e-4)
    assert not stretched[~retained[:, None, :].expand_as(stretched)].any()


def test_gains_are_straight_lines_over_the_bands_and_equal_over_time() -> None:
    spectrogram = torch.randn(2, 11, 7, generator=torch.Generator().manual_seed(0))
    draws = torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 0.5]])
    changed = gain_bands(spectrogram, draws, 2.0) - spectrogram
    assert not changed[0].any()
    expected = torch.cat([torch.linspace(-2, 2, 6), torch.linspace(2, 0, 6)[1:]])
    torch.testing.assert_close(changed[1], expected[:, None].expand(-1, 7), rtol=1e-5, atol=1e-5)


def test_stretch_and_gains_are_of_each_clip_alone() -> None:
    clips = torch.randint(-8000, 8000, (3, 4000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths = torch.tensor([4000, 1500, 0])
    draws = torch.rand(3, 16, generator=torch.Generator().manual_seed(1))
    layer = AugmentedLogMel(8000, 32, max_time_stretch=0.3, max_band_gain=1.0).train()
    together, valid = layer(clips, lengths, draws)
    for row in range(3):
        alone, retained = layer(
            clips[row : row + 1, : max(int(lengths[row]), 1)], lengths[row : row + 1], draws[row : row + 1]
        )
        count = int(retained.sum())
        assert count == int(valid[row].sum())
        torch.testing.assert_close(alone[0, :, :count], together[row, :, :count], rtol=1e-5, atol=1e-5)
    assert not together[2].any()

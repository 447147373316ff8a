from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.audio.augment import AudioTransformConfig, Color
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.audio.resample import shifted_pitch, speeded
from polysense.modalities.audio.room import response, reverberated

COLUMN = AudioColumn(name="voice", sample_rate=8000)
rng = np.random.default_rng(1)
LENGTHS = torch.from_numpy(rng.integers(0, 900, (24, 2)))
LENGTHS[::5, 0] = 0
SAMPLES = torch.from_numpy(rng.integers(-30000, 30000, (24, 2, 1200), dtype=np.int16))
ROWS = np.arange(24) * 7
EVERYTHING = AudioTransformConfig(
    probability=0.8,
    speed=0.2,
    pitch_semitones=3.0,
    reverb_probability=0.5,
    noise_color="any",
)
STILL = AudioTransformConfig(gain_db=0.0, shift=0.0, noise_probability=0.0)


def cut(samples: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
    return [s[:n].tolist() for s, n in zip(samples.flatten(0, 1), lengths.flatten().tolist(), strict=True)]


def batch(chosen: list[int] | slice = slice(None), padded_to: int = 1200) -> ColumnBatch:
    """Beyond a clip's length there is rubbish, which must not matter."""
    samples = torch.full((24, 2, padded_to), 12345, dtype=torch.int16)
    inside = torch.arange(1200) < LENGTHS[..., None]
    samples[..., :1200] = torch.where(inside, SAMPLES, torch.tensor(-777, dtype=torch.int16))[..., :padded_to]
    return ColumnBatch(values=samples[chosen], lengths=LENGTHS[chosen])


def one_clip(samples: np.ndarray, copies: int) -> ColumnBatch:
    clip = torch.from_numpy(samples.astype(np.int16))
    return ColumnBatch(values=clip.expand(copies, 1, -1), lengths=torch.full((copies, 1), len(clip)))


in_any_company = given(
    st.lists(st.integers(0, 23), min_size=1, max_size=24),
    st.sampled_from([900, 1200, 1201, 4000]),
    st.integers(0, 2**60),
    st.integers(0, 99),
)


@settings(max_examples=12)
@in_any_company
def test_a_clip_is_varied_alike_in_any_company_and_padding(
    chosen: list[int], padded_to: int, seed: int, epoch: int
) -> None:
    for config in (AudioTransformConfig(probability=0.9), EVERYTHING):
        check_company(config, chosen, padded_to, seed, epoch)


@pytest.mark.slow
@settings(max_examples=100)
@in_any_company
def test_a_clip_is_varied_alike_in_many_companies(chosen: list[int], padded_to: int, seed: int, epoch: int) -> None:
    for config in (AudioTransformConfig(probability=0.9), EVERYTHING):
        check_company(config, chosen, padded_to, seed, epoch)


def check_company(config: AudioTransformConfig, chosen: list[int], padded_to: int, seed: int, epoch: int) -> None:
    transform = config.build(COLUMN)
    whole = transform(batch(), ROWS, seed, epoch)
    part = transform(batch(chosen, padded_to), ROWS[chosen], seed, epoch)
    assert torch.equal(part.lengths, whole.lengths[chosen])
    assert cut(part.values, part.lengths) == cut(whole.values[chosen], whole.lengths[chosen])
    assert part.keys is not None
    assert whole.keys is not None
    assert torch.equal(part.keys, whole.keys[chosen])
    assert part.geometry is not None
    assert whole.geometry is not None
    torch.testing.assert_close(part.geometry, whole.geometry[chosen], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("config", [AudioTransformConfig(), EVERYTHING])
def test_what_is_behind_a_clip_is_silence(config: AudioTransformConfig) -> None:
    found = config.build(COLUMN)(batch(), ROWS, 0, 0)
    outside = torch.arange(found.values.shape[2]) >= found.lengths[..., None]
    assert not found.values[outside].any()
    assert found.values.dtype == torch.int16


@pytest.mark.parametrize("config", [AudioTransformConfig(), EVERYTHING])
def test_absent_stays_absent_and_the_input_is_not_changed(config: AudioTransformConfig) -> None:
    before = batch()
    found = config.build(COLUMN)(before, ROWS, 0, 0)
    assert torch.equal(found.lengths == 0, LENGTHS == 0)
    assert torch.equal(before.values, batch().values)
    assert torch.equal(before.lengths, LENGTHS)


@pytest.mark.parametrize(
    "config",
    [AudioTransformConfig(probability=0.0), AudioTransformConfig(gain_db=0.0, shift=0.0, noise_probability=0.0)],
)
def test_nothing_asked_for_is_the_identity(config: AudioTransformConfig) -> None:
    found = config.build(COLUMN)(batch(), ROWS, 0, 0)
    assert torch.equal(found.values, batch().values)
    assert torch.equal(found.lengths, LENGTHS)
    assert found.keys is not None


@pytest.mark.parametrize(
    "config", [AudioTransformConfig(probability=0.5), dataclasses.replace(EVERYTHING, probability=0.5)]
)
def test_a_clip_that_is_not_chosen_stays_bit_for_bit(config: AudioTransformConfig) -> None:
    found = config.build(COLUMN)(batch(), ROWS, 0, 0)
    before, after = cut(batch().values, LENGTHS), cut(found.values, found.lengths)
    same = sum(one == other for one, other in zip(before, after, strict=True) if one)
    assert 10 < same < sum(map(bool, before)) - 10


def test_encoders_get_a_key_for_each_row_and_epoch() -> None:
    transform = AudioTransformConfig().build(COLUMN)
    found = [transform(one_clip(np.ones(10), 500), np.arange(500), 0, epoch).keys for epoch in range(2)]
    assert all(keys is not None and keys.dtype == torch.int64 for keys in found)
    assert len({int(key) for keys in found if keys is not None for key in keys}) == 1000


def test_a_shift_puts_silence_before_and_loses_nothing() -> None:
    clip = rng.integers(-9000, 9000, 700)
    found = AudioTransformConfig(gain_db=0.0, noise_probability=0.0, shift=0.05).build(COLUMN)(
        one_clip(clip, 300), np.arange(300), 0, 0
    )
    later = found.lengths[:, 0] - 700
    assert int(later.min()) <= 10
    assert 390 <= int(later.max()) <= 400  # 0.05 s
    assert found.values.shape[2] % 400 == 0
    for samples, start in zip(found.values[:, 0], later.tolist(), strict=True):
        assert not samples[:start].any()
        assert np.array_equal(samples[start : start + 700].numpy(), clip)
        assert not samples[start + 700 :].any()


def test_gain_is_in_decibels_and_clips() -> None:
    loud = one_clip(np.array([1000, -1000, 32000, -32000]), 500)
    found = AudioTransformConfig(gain_db=6.0, shift=0.0, noise_probability=0.0).build(COLUMN)(
        loud, np.arange(500), 0, 0
    )
    decibels = 20 * torch.log10(found.values[:, 0, 0].double() / 1000)
    assert -6.01 < decibels.min() < -5.8
    assert 5.8 < decibels.max() < 6.01
    assert found.values.max() == 32767
    assert found.values.min() == -32768


def test_noise_has_the_asked_for_ratio_and_is_white() -> None:
    tone = np.round(3000 * np.sin(np.arange(40_000) * 0.1))
    config = AudioTransformConfig(gain_db=0.0, shift=0.0, noise_probability=0.5, noise_snr_db=(10.0, 20.0))
    found = config.build(COLUMN)(one_clip(tone, 60), np.arange(60), 0, 0)
    noise = found.values[:, 0].double() - torch.from_numpy(tone)
    noisy = noise.any(dim=1)
    assert 0.2 < noisy.double().mean() < 0.8
    ratio = 10 * torch.log10(np.square(tone).mean() / noise[noisy].square().mean(dim=1))
    assert 9.8 < ratio.min() < 13
    assert 17 < ratio.max() < 20.2
    neighbors = torch.corrcoef(torch.stack([noise[noisy][:, 1:].flatten(), noise[noisy][:, :-1].flatten()]))[0, 1]
    assert abs(float(neighbors)) < 0.01
    between = torch.corrcoef(noise[noisy]) - torch.eye(int(noisy.sum()))
    assert float(between.abs().max()) < 0.05


def test_silence_stays_silence() -> None:
    config = AudioTransformConfig(noise_probability=1.0)
    assert not config.build(COLUMN)(one_clip(np.zeros(500), 9), np.arange(9), 0, 0).values.any()


def test_long_clips_go_around_the_noise_table() -> None:
    clip = one_clip(rng.integers(-9000, 9000, 140_000), 2)
    config = AudioTransformConfig(gain_db=0.0, shift=0.0, noise_probability=1.0)
    noise = (config.build(COLUMN)(clip, np.arange(2), 0, 0).values - clip.values)[:, 0].double()
    assert bool(((noise[:, -5000:].std(dim=1) / noise[:, :5000].std(dim=1) - 1).abs() < 0.1).all())


@pytest.mark.parametrize(
    ("key", "value"), [("probability", -1.0), ("gain_db", 100.0), ("shift", -0.1), ("noise_snr_db", (20.0, 10.0))]
)
def test_a_setting_out_of_range_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{key} (must be|is)"):
        AudioTransformConfig(**{key: value})  # type: ignore[arg-type]


def test_range_settings_are_checked_alike() -> None:
    for name, value in (("reverb_seconds", (0.0, 1.0)), ("reverb_ratio_db", (10.0, 0.0))):
        with pytest.raises(ConfigError, match=rf"{name} is"):
            AudioTransformConfig(**{name: value})  # type: ignore[arg-type]


def spectrum(samples: torch.Tensor) -> np.ndarray:
    """The mean power of windows of 512 samples."""
    windows = samples.double().unfold(-1, 512, 256) * torch.hann_window(512, dtype=torch.float64)
    power: np.ndarray = torch.fft.rfft(windows).abs().square().flatten(0, -2).mean(dim=0).numpy()
    return power


@pytest.mark.parametrize(("color", "slope"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
@pytest.mark.parametrize("length", [3_000, 40_000])
def test_colored_noise_has_the_asked_for_ratio_and_slope(color: Color, slope: float, length: int) -> None:
    tone = np.round(3000 * np.sin(np.arange(length) * 0.1))
    config = dataclasses.replace(STILL, noise_probability=1.0, noise_snr_db=(10.0, 10.0), noise_color=color)
    found = config.build(COLUMN)(one_clip(tone, 60), np.arange(60), 0, 0)
    noise = found.values[:, 0].double() - torch.from_numpy(tone)
    ratio = 10 * torch.log10(np.square(tone).mean() / noise.square().mean(dim=1))
    # White noise has the power of its whole table, colored noise exactly that of its stretch.
    assert float((ratio - 10).abs().max()) < (0.3 if color == "white" else 0.02)
    power = spectrum(noise)
    octaves = [10 * np.log10(power[low : 2 * low].mean()) for low in (8, 16, 32, 64, 128)]
    assert np.abs(np.diff(octaves) - slope).max() < 0.6


def test_any_color_draws_each_of_them() -> None:
    tone = np.round(3000 * np.sin(np.arange(8000) * 0.1))
    config = dataclasses.replace(STILL, noise_probability=1.0, noise_snr_db=(10.0, 10.0), noise_color="any")
    noise = config.build(COLUMN)(one_clip(tone, 90), np.arange(90), 0, 0).values[:, 0] - torch.from_numpy(tone)
    falls = [spectrum(one)[8:16].mean() / spectrum(one)[64:128].mean() for one in noise]
    counts = np.histogram(np.log2(falls), bins=[-2, 1.5, 4.5, 8])[0]  # 0, 3 and 6 octaves of 3 dB each
    assert counts.sum() == 90
    assert counts.min() > 14


def test_speed_draws_out_a_clip_and_the_geometry_says_so() -> None:
    clip = np.zeros(8000)
    clip[3000:3200] = 20_000 * np.sin(np.arange(200) * 0.3)
    config = dataclasses.replace(STILL, speed=0.25, shift=0.05)
    found = config.build(COLUMN)(one_clip(clip, 200), np.arange(200), 0, 0)
    assert found.geometry is not None
    later = found.geometry[:, 0, 2]
    slower = found.geometry[:, 0, 0]
    assert 0.8 <= float(slower.min()) < 0.82
    assert 1.23 < float(slower.max()) <= 1.25
    assert float(((found.lengths[:, 0] - later) - 8000 * slower).abs().max()) <= 0.51
    power = found.values[:, 0].double().square()
    middle = (power * (torch.arange(power.shape[1]) + 0.5)).sum(dim=1) / power.sum(dim=1)
    original = np.square(clip)
    at = (original * (np.arange(8000) + 0.5)).sum() / original.sum()
    assert float((middle - (at * slower + later)).abs().max()) < 1.0


def test_a_tone_that_is_read_faster_is_higher_and_nothing_folds_back() -> None:
    rate = 8000
    for hertz, factor in ((500, 1.25), (1000, 0.8), (3900, 1.25)):
        samples = torch.from_numpy(np.round(8000 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype(np.int16))
        factors = torch.tensor([factor], dtype=torch.float64)
        fast, lengths = speeded(samples[None], torch.tensor([rate]), factors, 10_000, 1.25)
        inside = fast[0, : int(lengths[0])]
        power = np.abs(np.fft.rfft(inside[500:-500].double().numpy() * np.hanning(len(inside) - 1000)))
        heard = hertz * factor
        peak = power.argmax() * rate / (len(inside) - 1000)
        if heard < 3500:
            assert abs(peak - heard) < 3
            assert 7800 < float(inside[500:-500].double().square().mean().sqrt() * 2**0.5) < 8200
        else:  # would fold back to 3125 Hz, as loud as it was
            assert float(inside[500:-500].double().square().mean().sqrt()) < 0.1 * 5657


def test_reading_at_the_samples_themselves_changes_none() -> None:
    samples = SAMPLES[:, 0]
    one = torch.ones(len(samples), dtype=torch.float64)
    lengths = torch.full((len(samples),), 1200)
    same, after = speeded(samples, lengths, one, 1200, 1.5)
    assert torch.equal(same, samples)
    assert torch.equal(after, lengths)


def test_pitch_shifts_frequencies_and_nothing_else() -> None:
    rate = 8000
    samples = torch.from_numpy(np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16))
    factors = torch.tensor([2 ** (-4 / 12), 1.0, 2 ** (3 / 12)], dtype=torch.float64)
    found = shifted_pitch(samples.expand(3, -1), torch.full((3,), rate), factors, 2 ** (4 / 12), rate)
    for factor, one in zip(factors.tolist(), found, strict=True):
        power = np.abs(np.fft.rfft(one.double().numpy() * np.hanning(rate)))
        assert abs(power.argmax() - 440 * factor) < 25  # the delay lines' sawtooth is heard beside it
    assert torch.equal(found[1, 400:-400], samples[400:-400])


def test_a_room_is_a_convolution_with_its_response() -> None:
    from scipy.signal import fftconvolve

    clips = torch.from_numpy(rng.integers(-20_000, 20_000, (5, 3000), dtype=np.int16))
    rooms = np.stack([response(k / 5, 0.1 + 0.1 * k, 3.0, 8000, 4000) for k in range(5)])
    found = reverberated(clips, torch.from_numpy(rooms))
    for clip, room, one in zip(clips.numpy(), rooms, found.numpy(), strict=True):
        expected = fftconvolve(clip.astype(float), room / np.sqrt(np.square(room.astype(float)).sum()))[:3000]
        assert np.abs(one - np.clip(np.rint(expected), -32768, 32767)).max() <= 1


@pytest.mark.parametrize("seconds", [0.1, 0.5])
@pytest.mark.parametrize("ratio", [0.0, 12.0])
def test_a_response_decays_by_60_db_in_its_time_and_has_its_ratio(seconds: float, ratio: float) -> None:
    rate = 16_000
    room = response(0.3, seconds, ratio, rate, 16_000).astype(float) / 2**16
    assert room[0] == 1
    assert abs(10 * np.log10(1 / np.square(room[1:]).sum()) - ratio) < 0.1
    parts = [np.square(room[1:][int(share * seconds * rate) :][: rate // 50]).mean() for share in (0.0, 0.4)]
    assert abs(10 * np.log10(parts[0] / parts[1]) - 24) < 1.5  # 0.4 of 60 dB


def test_a_room_keeps_a_clip_about_as_loud_and_as_long() -> None:
    clip = one_clip(rng.normal(0, 3000, 12_000), 40)
    config = dataclasses.replace(STILL, reverb_probability=1.0)
    found = config.build(COLUMN)(clip, np.arange(40), 0, 0)
    assert torch.equal(found.lengths, clip.lengths)
    level = found.values[:, 0].double().square().mean(dim=1).sqrt() / 3000
    assert float(level.min()) > 0.85
    assert float(level.max()) < 1.15
    assert len({int(one) for one in found.values[:, 0, 100]}) > 30, "each row has a room of its own"

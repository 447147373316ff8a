from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.audio.augment import AudioTransformConfig
from polysense.modalities.audio.record import AudioColumn

COLUMN = AudioColumn(name="voice", sample_rate=8000)
rng = np.random.default_rng(1)
LENGTHS = torch.from_numpy(rng.integers(0, 900, (24, 2)))
LENGTHS[::5, 0] = 0
SAMPLES = torch.from_numpy(rng.integers(-30000, 30000, (24, 2, 1200), dtype=np.int16))
ROWS = np.arange(24) * 7


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


@given(
    st.lists(st.integers(0, 23), min_size=1, max_size=24),
    st.sampled_from([900, 1200, 1201, 4000]),
    st.integers(0, 2**60),
    st.integers(0, 99),
)
def test_a_clip_is_varied_alike_in_any_company_and_padding(
    chosen: list[int], padded_to: int, seed: int, epoch: int
) -> None:
    transform = AudioTransformConfig(probability=0.9).build(COLUMN)
    whole = transform(batch(), ROWS, seed, epoch)
    part = transform(batch(chosen, padded_to), ROWS[chosen], seed, epoch)
    assert torch.equal(part.lengths, whole.lengths[chosen])
    assert cut(part.values, part.lengths) == cut(whole.values[chosen], whole.lengths[chosen])
    assert part.keys is not None
    assert whole.keys is not None
    assert torch.equal(part.keys, whole.keys[chosen])


def test_what_is_behind_a_clip_is_silence() -> None:
    found = AudioTransformConfig().build(COLUMN)(batch(), ROWS, 0, 0)
    outside = torch.arange(found.values.shape[2]) >= found.lengths[..., None]
    assert not found.values[outside].any()
    assert found.values.dtype == torch.int16


def test_absent_stays_absent_and_the_input_is_not_changed() -> None:
    before = batch()
    found = AudioTransformConfig().build(COLUMN)(before, ROWS, 0, 0)
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


def test_a_clip_that_is_not_chosen_stays_bit_for_bit() -> None:
    found = AudioTransformConfig(probability=0.5).build(COLUMN)(batch(), ROWS, 0, 0)
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

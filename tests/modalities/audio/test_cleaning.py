"""Cleanings of recordings: loudness as ITU-R BS.1770-4 has it, silence, offset, noise; and within a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polysense.config.codec import from_dict
from polysense.data.cleaning import CellCleaner
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError
from polysense.modalities.audio.cleaning import (
    DcOffsetConfig,
    DenoiseConfig,
    LoudnessConfig,
    Recording,
    TrimSilenceConfig,
    integrated_loudness,
)


def tone(seconds: float, rate: int = 16_000, level: float = 0.0, hertz: float = 997.0) -> np.ndarray:
    """A sine whose amplitude is a level in decibels of the full scale."""
    return np.asarray(10 ** (level / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate))


def recording(samples: np.ndarray, rate: int = 16_000) -> Recording:
    return Recording(np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16), rate)


def cleaned(config: Any, value: Recording) -> Recording:
    result = config.create().clean(value)
    assert isinstance(result, Recording)
    return result


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_full_scale_tone_has_the_loudness_of_the_standard(rate: int) -> None:
    # ITU-R BS.1770-4: 997 Hz at 0 dBFS in one channel reads -3.01 LUFS.
    assert integrated_loudness(tone(5, rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert integrated_loudness(tone(5, rate, -20), rate) == pytest.approx(-23.01, abs=0.05)
    assert integrated_loudness(tone(0.1, rate, -20), rate) == pytest.approx(-23.01, abs=1.0)  # shorter than a block


def test_silence_and_quiet_parts_are_gated() -> None:
    # EBU Tech 3341, case 3, in one channel: the parts at -36 dB are below the relative gate.
    samples = np.concatenate([tone(5, level=-36), tone(30, level=-23), tone(5, level=-36)])
    assert integrated_loudness(samples, 16_000) == pytest.approx(-26.01, abs=0.1)
    assert integrated_loudness(np.concatenate([samples, np.zeros(160_000)]), 16_000) == pytest.approx(-26.01, abs=0.1)
    assert integrated_loudness(np.full(16_000, 1e-6), 16_000) == -np.inf


@pytest.mark.parametrize("level", [-50.0, -30.0, -10.0])
def test_recordings_come_to_one_loudness_without_clipping(level: float) -> None:
    result = cleaned(LoudnessConfig(), recording(tone(3, level=level)))
    assert integrated_loudness(result.samples / 32768, 16_000) == pytest.approx(-23.0, abs=0.2)
    loud = cleaned(LoudnessConfig(target=0.0), recording(tone(3, level=level)))
    assert abs(int(np.abs(loud.samples.astype(int)).max()) - 29205) <= 2  # -1 dB


def test_silence_at_the_ends_goes_and_silence_between_stays() -> None:
    rate, silence = 16_000, np.zeros(8_000)
    samples = np.concatenate([silence, tone(0.5), silence, tone(0.5), silence])
    result = cleaned(TrimSilenceConfig(margin=0.0), recording(samples))
    assert len(result.samples) == pytest.approx(1.5 * rate, abs=0.04 * rate)
    assert len(cleaned(TrimSilenceConfig(margin=0.1), recording(samples)).samples) - len(result.samples) == 2 * 1600
    quiet = recording(np.zeros(1000))
    assert cleaned(TrimSilenceConfig(), quiet) is quiet
    whole = recording(tone(1))
    assert cleaned(TrimSilenceConfig(), whole) is whole


def test_an_offset_goes_and_steady_noise_is_turned_down() -> None:
    assert abs(cleaned(DcOffsetConfig(), recording(0.3 + tone(1, level=-20))).samples.mean()) < 1
    draws = np.random.default_rng(0)
    noise = 0.01 * draws.normal(size=32_000)
    speech = np.where(np.arange(32_000) % 16_000 < 6_000, tone(2, level=-12), 0.0)
    result = cleaned(DenoiseConfig(), recording(speech + noise)).samples / 32768
    quiet = (np.arange(32_000) % 16_000 > 8_000) & (np.arange(32_000) % 16_000 < 14_000)
    assert np.std(result[quiet]) < 0.5 * np.std(noise[quiet])
    loud = np.arange(32_000) % 16_000 < 5_000
    assert np.std(result[loud]) == pytest.approx(np.std(speech[loud]), rel=0.1)


@pytest.mark.parametrize("config", [DcOffsetConfig(), TrimSilenceConfig(), LoudnessConfig(), DenoiseConfig()])
@pytest.mark.parametrize("num", [0, 1, 7, 400])
def test_short_empty_and_extreme_recordings(config: Any, num: int) -> None:
    draws = np.random.default_rng(num)
    for samples in (np.zeros(num), np.full(num, -1.0), draws.uniform(-1, 1, num)):
        result = cleaned(config, recording(samples))
        assert result.samples.dtype == np.int16
        assert (len(result.samples) > 0) == (num > 0)


def test_a_column_of_clips_is_cleaned_and_counted(tmp_path: Path) -> None:
    for i in range(6):
        samples = np.concatenate([np.zeros(4_000 * (i % 2)), tone(0.5, 8_000, -20)])
        soundfile.write(tmp_path / f"{i}.wav", samples, 8_000)
    rows = {"clip": [f"{i}.wav" for i in range(6)], "label": ["x", "y"] * 3}
    table = read_table(rows, root=tmp_path)
    plain = {
        "columns": {"clip": {"type": "audio"}},
        "targets": {"label": {"type": "classification"}},
        "cleaning": {"clip": ["trim_silence"]},
    }
    processor = Processor.fit(table, from_dict(DataConfig, plain))
    assert processor.cleaning_remarks() == ["clip: cleaning trim_silence changed 3 of 6 training cells tried"]
    lengths = [len(processor.transform(table, i, with_targets=False).values["clip"][0]) for i in range(6)]
    assert max(lengths) - min(lengths) <= 0.1 * 8_000
    processor.save(tmp_path / "saved")
    loaded = Processor.load(tmp_path / "saved")
    for one in (processor, loaded):
        np.testing.assert_array_equal(
            one.transform(table, 1, with_targets=False).values["clip"][0],
            processor.transform(table, 1, with_targets=False).values["clip"][0],
        )
    with pytest.raises(ConfigError, match="'trim_silence' can't clean a target"):
        from_dict(DataConfig, {**plain, "cleaning": {"label": ["trim_silence"]}})


def test_media_are_left_to_media_cleanings() -> None:
    cleaner = CellCleaner([DcOffsetConfig()])
    assert cleaner.cell("a.wav") == "a.wav"
    assert cleaner.fitted(["a.wav", None]) == ["a.wav", None]

"""Audio to see and to hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from polysense.modalities.audio.preview import as_playable, spectrogram_image


def test_a_rising_tone_rises_in_its_spectrogram() -> None:
    rate = 8_000
    rising = (20_000 * np.sin(2 * np.pi * 1_000 * (np.arange(2 * rate) / rate) ** 2 / 2)).astype(np.int16)
    image = spectrogram_image(rising, width=100, height=80).astype(int).sum(axis=2)
    peaks = 79 - image.argmax(axis=0)  # from below; 4 kHz is the top
    assert peaks[10] == pytest.approx(80 * 200 / 4_000, abs=3)
    assert peaks[90] == pytest.approx(80 * 1_800 / 4_000, abs=3)
    for odd in (np.zeros(0, np.int16), np.zeros(5, np.int16), np.full(10, -32768, np.int16)):
        assert spectrogram_image(odd).shape == (72, 320, 3)


@pytest.mark.parametrize(("rate", "kind"), [(16_000, "audio/mpeg"), (10_000, "audio/wav")])
def test_sound_that_can_be_played(rate: int, kind: str, tmp_path: Path) -> None:
    wave = (10_000 * np.sin(np.arange(3 * rate) * 0.2)).astype(np.int16)
    made = as_playable(wave, rate)
    assert made is not None
    assert made[1] == kind
    (tmp_path / "x").write_bytes(made[0])
    assert soundfile.info(tmp_path / "x").duration == pytest.approx(3.0, abs=0.2)
    assert as_playable(np.zeros(0, np.int16), rate) is None
    assert as_playable(np.zeros(21 * rate, np.int16), rate) is None, "too long to be carried along"

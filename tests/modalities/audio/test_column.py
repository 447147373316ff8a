"""One rate for the column, the most common one, and nothing cut."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polysense.config.codec import from_dict
from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.errors import ColumnError, ConfigError
from polysense.modalities.audio.column import AudioColumnConfig

Fit = Callable[..., ColumnProcessor]
SOURCE = SourceInfo(table="t", row=0, column="c")


def wav(rate: int, seconds: float = 0.1) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(np.arange(int(rate * seconds)) / 9), rate, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("rates", "expected"),
    [([8000] * 3, 8000), ([8000, 8000, 44100], 8000), ([44100] * 2, 16000), ([11025, 16000], 16000), ([16000], 16000)],
)
def test_the_rate_is_the_most_common_one_capped(rates: list[int], expected: int, fit: Fit) -> None:
    processor = fit(AudioColumnConfig(), [wav(rate) for rate in rates])
    assert processor.column.sample_rate == expected
    for rate in rates:
        (found,) = processor.transform(wav(rate, 0.5), SOURCE, Path())
        assert found.dtype == np.int16
        assert abs(len(found) - expected / 2) <= 1


def test_the_encoders_rate_or_the_users(fit: Fit) -> None:
    assert fit(AudioColumnConfig(), [wav(8000)], sample_rate=16000).column.sample_rate == 16000
    assert fit(AudioColumnConfig(sample_rate=22050), [wav(8000)]).column.sample_rate == 22050
    with pytest.raises(ColumnError, match=r"sample_rate is 8000 in the recipe.*needs 16000"):
        fit(AudioColumnConfig(sample_rate=8000), [wav(8000)], sample_rate=16000)


def test_the_typical_length_is_the_95th_percentile_in_samples_at_the_new_rate(fit: Fit) -> None:
    cells = [wav(16000, 0.01 * (i + 1)) for i in range(101)]
    column = fit(AudioColumnConfig(sample_rate=8000), cells).column
    assert column.typical_length == round(8000 * 0.96)
    (longest,) = fit(AudioColumnConfig(), cells).transform(wav(16000, 3.0), SOURCE, Path())
    assert len(longest) == 48000, "never a limit"


def test_saving_and_loading_changes_nothing(fit: Fit, tmp_path: Path) -> None:
    processor = fit(AudioColumnConfig(), [wav(22050)])
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(tmp_path))), tmp_path)
    assert loaded.column == processor.column
    assert np.array_equal(
        loaded.transform(wav(44100), SOURCE, Path())[0], processor.transform(wav(44100), SOURCE, Path())[0]
    )


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="sample_rate: expected 1000 to 192000"):
        from_dict(AudioColumnConfig, {"type": "audio", "sample_rate": 16})


def test_a_clip_that_is_much_longer_than_all_others_is_cut_and_told(
    fit: Fit, source: SourceInfo, caplog: pytest.LogCaptureFixture
) -> None:
    clips = [wav(1000, 1.0)] * 30
    processor = fit(AudioColumnConfig(), [*clips, wav(1000, 90.0)])
    assert len(processor.transform(wav(1000, 90.0), source, Path())[0]) == 30_000
    assert "cut to max_seconds=30" in caplog.text
    short = fit(AudioColumnConfig(max_seconds=0.5), clips)
    assert len(short.transform(clips[0], source, Path())[0]) == 500
    whole = fit(AudioColumnConfig(max_seconds=None), clips)
    assert len(whole.transform(wav(1000, 90.0), source, Path())[0]) == 90_000

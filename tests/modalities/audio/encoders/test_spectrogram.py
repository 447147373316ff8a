from __future__ import annotations

import pytest

from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.conformer import ConformerConfig
from polysense.modalities.audio.encoders.spectrogram import AttentiveSpectrogramConfig
from polysense.modalities.audio.encoders.transformer import AudioTransformerConfig
from polysense.modalities.audio.record import AudioColumn

CONFIGS = (AudioTransformerConfig, ConformerConfig)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("key", ["channels", "num_layers", "num_heads"])
def test_nothing_can_be_none_at_all(config: type[AttentiveSpectrogramConfig], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}.*found 0"):
        config(**{key: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seconds", [0.01, float("nan")])
def test_attention_reaches_at_least_one_token(config: type[AttentiveSpectrogramConfig], seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"attention_seconds: .* is less than one token"):
        config(attention_seconds=seconds)


@pytest.mark.parametrize("config", CONFIGS)
def test_heads_that_do_not_divide_the_width_name_the_column(config: type[AttentiveSpectrogramConfig]) -> None:
    column = AudioColumn(name="voice", sample_rate=16000)
    with pytest.raises(ConfigError, match=r"model\.encoders\.voice: 3 heads do not divide the model's width of 16"):
        config(num_heads=3).build(column, 16)

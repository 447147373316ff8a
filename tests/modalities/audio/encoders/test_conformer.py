"""The Conformer's rate, and settings that can't be; what every encoder of sound promises is in test_audio_encoders."""

from __future__ import annotations

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.conformer import ConformerConfig
from polysense.modalities.audio.record import AudioColumn

COLUMN = AudioColumn(name="speech", sample_rate=8000, typical_length=8000)


def clip(seconds: float) -> ColumnBatch:
    length = round(8000 * seconds)
    values = torch.randint(-9000, 9000, (1, 1, length), generator=torch.Generator().manual_seed(0))
    return ColumnBatch(values=values.to(torch.int16), lengths=torch.tensor([[length]]))


def test_there_are_25_tokens_a_second() -> None:
    encoder = ConformerConfig(num_layers=1).build(COLUMN, 16).eval()
    for seconds, tokens in ((1.0, 25), (3.0, 75), (0.05, 2), (60.0, 1500)):
        found = encoder(clip(seconds))
        assert int(found.mask.sum()) == found.values.shape[1] == tokens


def test_order_counts() -> None:
    encoder = ConformerConfig(num_layers=1).build(COLUMN, 16).eval()
    column = clip(1.0)
    backwards = ColumnBatch(values=column.values.flip(2), lengths=column.lengths)
    assert not torch.allclose(encoder(column).mean(), encoder(backwards).mean(), atol=1e-3)


def test_unusable_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="less than one token"):
        ConformerConfig(attention_seconds=0.0)
    with pytest.raises(ConfigError, match="kernel_size must be odd"):
        ConformerConfig(kernel_size=8)
    with pytest.raises(ConfigError, match="num_layers"):
        ConformerConfig(num_layers=0)
    with pytest.raises(ConfigError, match=r"model.encoders.speech: 3 heads do not divide"):
        ConformerConfig(num_heads=3).build(COLUMN, 16)

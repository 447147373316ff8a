"""What a frame of the audio transformer hears, near and far."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.audio.encoders.transformer import AudioTransformer, AudioTransformerConfig
from polysense.modalities.audio.record import AudioColumn

COLUMN = AudioColumn(name="speech", sample_rate=8000, typical_length=8000)


def build(**options: float) -> AudioTransformer:
    torch.manual_seed(0)
    return AudioTransformerConfig(**options).build(COLUMN, 16).eval()  # type: ignore[arg-type]


def clip(seconds: float, seed: int = 0) -> ColumnBatch:
    length = int(8000 * seconds)
    values = torch.randint(-9000, 9000, (1, 1, length), generator=torch.Generator().manual_seed(seed))
    return ColumnBatch(values=values.to(torch.int16), lengths=torch.tensor([[length]]))


def attended(encoder: AudioTransformer, tokens: int, index: int) -> Tensor:
    """Which of the embedded frames the blocks' output at `index` depends on."""
    frames = torch.randn(1, tokens, 16, requires_grad=True)
    hidden = frames
    for block in encoder.blocks:
        hidden = block(hidden, torch.ones(1, tokens, dtype=torch.bool))
    # The square: a layer normalization's outputs add up to a constant.
    hidden[0, index].square().sum().backward()
    assert frames.grad is not None
    return frames.grad.abs().amax(dim=2)[0] > 0


def test_clips_within_its_reach_are_seen_whole() -> None:
    near, far = build(attention_seconds=2.0), build(attention_seconds=100.0)
    torch.testing.assert_close(near(clip(2.0)).values, far(clip(2.0)).values)
    assert attended(near, 51, 0).all()


def test_each_layer_adds_its_reach() -> None:
    encoder = build(attention_seconds=0.4, num_layers=2)
    assert attended(encoder, 100, 50).nonzero().flatten().tolist() == list(range(30, 71))


def test_a_token_is_40_ms_and_order_counts() -> None:
    encoder = build()
    assert encoder(clip(3.0)).values.shape[1] == 75
    column = clip(1.0)
    backwards = ColumnBatch(values=column.values.flip(2), lengths=column.lengths)
    assert not torch.allclose(encoder(column).mean(), encoder(backwards).mean(), atol=1e-3)


def test_unusable_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="less than one token"):
        AudioTransformerConfig(attention_seconds=0.0)
    with pytest.raises(ConfigError, match=r"model.encoders.speech: 3 heads do not divide"):
        AudioTransformerConfig(num_heads=3).build(COLUMN, 16)

"""The factorized video transformer: its promises, with its own and with another encoder of frames."""

from __future__ import annotations

import pytest
import torch
from video_clips import check_promises, video_column

from polysense.config.codec import from_dict
from polysense.errors import ConfigError
from polysense.modalities.video.encoders.transformer import VideoTransformerConfig
from polysense.nn.encoder import Encoder, EncoderConfig


def build(**options: object) -> Encoder:
    torch.manual_seed(0)
    config = from_dict(EncoderConfig, {"type": "video_transformer", **options}, where="encoder")
    return config.create(video_column(), 8)


def test_promises() -> None:
    check_promises(build())
    check_promises(build(frames={"type": "image_cnn"}))


def test_frames_are_read_by_a_vision_transformer_by_default() -> None:
    assert VideoTransformerConfig(num_heads=2).of_items.type == "vit"
    assert VideoTransformerConfig().of_items.items == "set"


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="num_heads must divide"):
        build(num_heads=3)


def test_a_set_of_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="items: set: video_transformer reads what follows what; write sequence"):
        build(items="set")

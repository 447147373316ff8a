"""A factorized video transformer: attention within a frame, then over time.

Arnab et al., "ViViT: A Video Vision Transformer", 2021, section 3.3, model 2 (factorized encoder): a transformer over
each frame's patches, the mean of which goes to a second one over frames. It costs the sum of what the two cost, where
attention over all patches of all frames costs the square of their product. The first may be another image encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.codec import from_dict
from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.modalities.video.encoders.frames import OverFrames, OverFramesConfig
from polysense.modalities.video.record import VideoColumn
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense.nn.layers.transformer import TransformerBlock, sinusoidal

__all__ = ["VideoTransformer", "VideoTransformerConfig"]


@dataclass(frozen=True, kw_only=True)
class VideoTransformerConfig(OverFramesConfig):
    """A transformer over each frame's patches, then one over frames (ViViT, factorized); a token for each frame.

    Attributes:
        frames: The encoder of a single frame, any that reads images; null takes a vision transformer, trained from
            scratch.
        num_layers: Transformer blocks over frames.
        num_heads: Attention heads; must divide the model's width.
        dropout: On the frames' vectors and in every block.
    """

    type: Literal["video_transformer"] = "video_transformer"
    num_layers: PositiveInt = 2
    num_heads: PositiveInt = 4
    dropout: FractionBelowOne = 0.1

    @property
    def of_items(self) -> EncoderConfig:
        if self.frames is not None:
            return super().of_items
        plain: dict[str, Any] = {"type": "vit", "num_layers": 4, "num_heads": self.num_heads, "dropout": self.dropout}
        chosen: EncoderConfig = from_dict(EncoderConfig, plain, where="model.encoders: frames")
        return replace(chosen, items="set")

    def over(self, frames: Encoder, column: VideoColumn, width: int) -> VideoTransformer:
        return VideoTransformer(self, frames, column, width)


class VideoTransformer(OverFrames):
    """The frames' encoder, positions in time, transformer blocks, a last normalization."""

    def __init__(self, config: VideoTransformerConfig, frames: Encoder, column: VideoColumn, width: int) -> None:
        super().__init__(frames, column, width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.num_layers)
        )
        self.last_norm = nn.LayerNorm(width)

    def over_time(
        self, frames: Float[Tensor, "batch frames width"], present: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames width"]:
        times = torch.arange(frames.shape[1], device=frames.device)
        x = self.dropout(frames + sinusoidal(times, self.width).to(frames.dtype))
        for block in self.blocks:
            x = block(x, present)
        result: Tensor = self.last_norm(x)
        return result

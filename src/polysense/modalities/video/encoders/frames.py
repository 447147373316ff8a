"""An image encoder over single frames, and a network over what it gives for them: frames first, time afterwards.

The image encoder may be any, one with pretrained weights as well. If that is frozen, what it gives for a video's frames
is stored as for images, and training runs the network over time alone, which makes videos affordable on a CPU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.codec import from_dict
from polysense.core.batch import ColumnBatch
from polysense.core.registry import modality
from polysense.core.schema import Column, Requirements
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.video.encoders.clip import WholeVideoConfig
from polysense.modalities.video.record import VideoColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["MovingFrames", "OverFrames", "OverFramesConfig", "frames_in_order"]


@dataclass(frozen=True, kw_only=True)
class OverFramesConfig(WholeVideoConfig):
    """What encoders have that read frames one by one and then what these became.

    Attributes:
        frames: The encoder of a single frame, any that reads images; null takes the usual one, trained from scratch.
    """

    frames: EncoderConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames is None:
            return
        if isinstance(self.frames, OverFramesConfig):
            raise ConfigError(f"frames: {self.frames.type!r} reads whole videos; name an encoder of images")
        if self.frames.is_deferred:
            raise ConfigError(
                f"frames: {self.frames.type!r} is chosen for whole columns only; name an encoder of images"
            )

    @property
    def of_items(self) -> EncoderConfig:
        """See `EncoderConfig`."""
        if self.frames is not None:
            return replace(self.frames, items="set")  # time is told by what follows
        item = modality("video").item_modality
        plain: dict[str, Any] = {**modality(item).default_encoder(None), "items": "set"}
        return from_dict(EncoderConfig, plain, where="model.encoders: frames")

    @property
    def is_frozen(self) -> bool:
        """See `EncoderConfig`: of the frames' encoder."""
        return self.frames is not None and self.frames.is_frozen

    def requirements(self, column_name: str, modality: str) -> Requirements:
        """See `EncoderConfig`: those of the frames' encoder."""
        return self.of_items.requirements(column_name, modality)

    def check(self, column: Column) -> None:
        """See `EncoderConfig`."""
        super().check(column)
        self.of_items.check(column)

    def build(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
        """See `EncoderConfig`."""
        self.check(column)
        frames = self.of_items.create(column, width, resources)
        return self.over(frames, VideoColumn.of(column), width)

    @abstractmethod
    def over(self, frames: Encoder, column: VideoColumn, width: int) -> OverFrames:
        """The encoder, with that of its frames."""


class OverFrames(Encoder):
    """Each frame's tokens averaged to one, then a network over these.

    Args:
        frames: The encoder of single frames.
        column: The fitted column.
        width: Width of the tokens to give.
    """

    def __init__(self, frames: Encoder, column: Column, width: int) -> None:
        super().__init__(column, width)
        self.frames = frames
        self.moving = MovingFrames(width)

    @abstractmethod
    def over_time(
        self, frames: Float[Tensor, "batch frames width"], present: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames width"]:
        """What becomes of the frames' vectors; present frames need not be the first, and what is absent is 0."""

    def encode_cells(self, column: ColumnBatch) -> Tokens:
        """See `Encoder`."""
        self.frames.gives_features = self.gives_features
        tokens = self.frames.encode_cells(column)
        num_frames = column.lengths.shape[1]
        values, mask = (
            each.reshape(len(each), num_frames, -1, *each.shape[2:]) for each in (tokens.values, tokens.mask)
        )
        present = mask.any(dim=2)
        count = mask.sum(dim=2, keepdim=True).clamp(min=1)
        means = (values * mask[..., None]).sum(dim=2) / count
        result = Tokens(
            self.over_time(self.moving(means, present), present), present, (num_frames,), features=tokens.features
        )
        return result.cleared()

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        """Each item as a video of one frame."""
        return self.encode_cells(ColumnBatch(values=values[:, None], lengths=lengths[:, None]))

    @property
    def of_items(self) -> Encoder:
        """See `Encoder`."""
        return self.frames

    @property
    def num_item_features(self) -> int:
        """See `Encoder`."""
        return self.frames.num_item_features

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """See `Encoder`."""
        return self.frames.pretrained_parameters()

    def save_resources(self, folder: Path) -> None:
        """See `Encoder`."""
        self.frames.save_resources(folder)


class MovingFrames(nn.Module):
    """Vectors of frames, normalized; and what sets each apart from its video's mean, normalized by itself.

    The frames of one video are nearly the same, so what moves is a small part of every vector, and is learned late or
    never: of a speaker's command words (grid_av, a frozen image backbone and a GRU) nothing without this in 12 epochs.

    Args:
        width: Of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.change = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(
        self, frames: Float[Tensor, "batch frames width"], present: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames width"]:
        """0 where absent; what stands there is not read."""
        known = frames.masked_fill(~present[..., None], 0.0)
        mean = known.sum(dim=1, keepdim=True) / present.sum(dim=1)[:, None, None].clamp(min=1)
        result: Tensor = (self.norm(known) + self.change(known - mean)) * present[..., None]
        return result


def frames_in_order(present: Bool[Tensor, "batch frames"]) -> Tensor:
    """For each clip the places of its present frames, in their order, then of the absent ones."""
    return torch.argsort((~present).to(torch.int8), dim=1, stable=True)

"""Videos: a stretch of the frames, some frames left out, and what varies each frame.

Frames that are left out are absent, as those of a shorter video are: encoders know gaps, and what was there keeps its
place in time. Nothing is turned backwards, since an action played backwards is another one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from polysense.config.limits import Fraction, FractionBelowOne
from polysense.core.batch import ColumnBatch
from polysense.core.random import uniforms
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.errors import ConfigError

__all__ = ["VideoTransform", "VideoTransformConfig"]


@dataclass(frozen=True, kw_only=True)
class VideoTransformConfig(TransformConfig):
    """Random stretches of videos, frames left out, and a transform of each frame.

    Attributes:
        shortest: Of each video a stretch of consecutive frames is kept, of a random length between this fraction of
            its frames and all of them, at a random place; 1 keeps all.
        frame_dropout: Probability that a frame of the stretch is left out; one always stays.
        frames: How the frames that are left vary, such as {type: image, together: true}; null leaves them as they are.
    """

    type: Literal["video"] = "video"
    shortest: Fraction = 0.8
    frame_dropout: FractionBelowOne = 0.1
    frames: TransformConfig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.frames, VideoTransformConfig):
            raise ConfigError("frames: video varies whole videos; name a transform of images, or null")

    @property
    def moves(self) -> bool:
        """See `TransformConfig`: what the frames' transform moves."""
        return self.frames is not None and self.frames.moves

    @property
    def untraced(self) -> tuple[str, ...]:
        """See `TransformConfig`: of the frames' transform."""
        return () if self.frames is None else self.frames.untraced

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """See `TransformConfig`: of the frames' transform."""
        each = {} if self.frames is None else self.frames.disturbs
        return {name: {"frames": dataclasses.replace(self.frames, **keys)} for name, keys in each.items()}  # type: ignore[type-var]

    def build(self, column: Column) -> VideoTransform:
        """The transform for a column of a video's frames."""
        return VideoTransform(self, column.name, None if self.frames is None else self.frames.build(column))


class VideoTransform(Transform):
    """See `VideoTransformConfig`.

    Args:
        config: Its config.
        name: The column's.
        frames: Of the frames, where there is one.
    """

    def __init__(self, config: VideoTransformConfig, name: str, frames: Transform | None) -> None:
        self.config, self.frames = config, frames
        self._name = f"video:{name}"

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies the videos of a batch; uint8 [batch, frames, channels, height, width]."""
        keep = torch.from_numpy(self._kept(column.lengths.cpu().numpy() > 0, rows, seed, epoch))
        lengths = column.lengths * keep.to(column.lengths.device)
        column = dataclasses.replace(column, lengths=lengths)
        return column if self.frames is None else self.frames(column, rows, seed, epoch)

    def _kept(self, present: np.ndarray, rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Which frames stay, [batch, frames]."""
        count = present.sum(axis=1)
        place = np.cumsum(present, axis=1) - 1  # among the present frames
        stretch = uniforms(2, seed, epoch, rows, self._name)
        shares = self.config.shortest + (1 - self.config.shortest) * stretch[:, 0]
        length = np.clip(np.ceil(shares * count), 1, np.maximum(count, 1))
        start = np.floor(stretch[:, 1] * (count - length + 1))
        inside = present & (place >= start[:, None]) & (place < (start + length)[:, None])
        draws = item_uniforms(1, seed, epoch, rows, self._name, present.shape[1])[..., 0]
        keep: np.ndarray = inside & (draws >= self.config.frame_dropout)
        # Of a video that would lose all, the frame with the largest draw stays.
        last = np.where(inside, draws, -1.0).argmax(axis=1)
        spared = ~keep.any(axis=1) & inside.any(axis=1)
        keep[spared, last[spared]] = True
        return keep

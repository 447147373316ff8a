"""Videos as a few evenly spaced frames, each of which is an image to the model.

What a frame becomes is decided by the image column that this one asks the registry for: size, channels, statistics. So
every encoder of images reads videos, and frames are resized and normalized as images are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from polysense.config.codec import from_dict
from polysense.config.limits import PositiveInt
from polysense.core.registry import modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig, ColumnProcessor, Item, PlacedItem, TrainingCells
from polysense.data.media.pixels import Fit
from polysense.data.media.raster import MAX_PIXELS
from polysense.modalities.video.decode import decode_video, num_requested, video_info
from polysense.modalities.video.record import VideoColumn

__all__ = ["FRAMES", "VideoColumnConfig", "VideoProcessor"]

FRAMES = 8
"""Frames of a video unless the recipe says otherwise: half a second apart in a clip of four seconds."""

_MOST_FRAMES = 64  # with frames_per_second: 64 frames of 128 px are 3 MB a row
_NUM_VIDEOS = 64  # that statistics come from: the middle of a long one takes a second to reach
_LONGEST = 512  # pixels of the frames that these are taken of, so that 64 of them fit into memory


@dataclass(frozen=True, kw_only=True)
class VideoColumnConfig(ColumnConfig):
    """Videos (MP4, WebM, MOV, AVI, MKV, animated GIF, WebP and PNG), as frames; a still image is one frame.

    Each frame is one item of its cell, as if the cell were a list of images; `items: sequence` of the encoder adds
    their order. The sound track of a video is a column of its own: type audio, with `column`.

    Attributes:
        size: (height, width) in pixels that every frame is brought to, or auto, as of images.
        fit: How a frame of another shape is brought to that size: pad, crop or stretch, as of images.
        channels: 1 (gray), 3 (RGB) or auto, which is 1 only if all frames that were looked at are gray.
        frames: How many evenly spaced frames a video becomes; a shorter one gives all that it has. auto: 8, and with
            frames_per_second at most 64.
        frames_per_second: Takes as many frames as this makes of the video's length, at most `frames`; null takes
            `frames` of every video.
        max_pixels: A video whose frames have more pixels than this is not opened and counts as unreadable.
    """

    modality: ClassVar[str] = "video"
    type: Literal["video"] = "video"
    size: tuple[int, int] | Literal["auto"] = "auto"
    fit: Fit = "pad"
    channels: Literal[1, 3, "auto"] = "auto"
    frames: int | Literal["auto"] = "auto"
    frames_per_second: float | None = None
    max_pixels: PositiveInt = MAX_PIXELS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size != "auto" and min(self.size) < 1:
            raise ValueError("expected a height and a width of at least 1 pixel")
        if self.frames != "auto" and not 1 <= self.frames <= 10_000:
            raise ValueError("frames: expected 1 to 10000, or auto")
        if self.frames_per_second is not None and not 0 < self.frames_per_second <= 1000:
            raise ValueError("frames_per_second: expected more than 0 and at most 1000, or null")

    @property
    def num_frames(self) -> int:
        """Frames of a video at most."""
        if self.frames != "auto":
            return self.frames
        return FRAMES if self.frames_per_second is None else _MOST_FRAMES

    def build(self, name: str) -> VideoProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return VideoProcessor(name, self)


class VideoProcessor(ColumnProcessor):
    """Decodes frames and has them resized; each item is uint8 [channels, height, width].

    Attributes:
        frames: The preprocessing of a frame, which is an image column's.
    """

    packages = ("av", "pillow")
    config: VideoColumnConfig
    ending = "png"

    def __init__(self, name: str, config: VideoColumnConfig) -> None:
        super().__init__(name, config)
        spec = modality(modality(config.modality).item_modality)
        plain: dict[str, Any] = {"type": spec.column_type, "channels": config.channels, "fit": config.fit}
        plain |= {"size": config.size if config.size == "auto" else list(config.size), "max_pixels": config.max_pixels}
        self.frames: ColumnProcessor = from_dict(ColumnConfig, plain, where=f"data.columns.{name}").build(name)  # type: ignore[type-abstract]

    @property
    def column(self) -> VideoColumn:
        """See `ColumnProcessor`."""
        return VideoColumn.of(super().column)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> VideoColumn:
        config, num_frames = self.config, self.config.num_frames
        if config.frames_per_second is not None:
            infos = cells.read(
                self.name, "videos", lambda cell, _: self._num_frames(cell, root), _NUM_VIDEOS, tell=False
            )
            num_frames = min(num_frames, max(infos))
        # A video counts by the frame in its middle.
        middles = cells.read(self.name, "videos", lambda cell, source: (self._middle(cell, root), source), _NUM_VIDEOS)
        frames, sources = [frame for frame, _ in middles], [source for _, source in middles]
        frame = self.frames.fit(frames, sources, root, requirements)
        return VideoColumn(
            name=self.name,
            max_items=num_frames,
            frame=frame,
        )

    def _num_frames(self, cell: Any, root: Path) -> int:
        config = self.config
        if isinstance(cell, np.ndarray):
            return 1
        _, num_there, seconds = video_info(cell, root, max_pixels=config.max_pixels)
        return min(num_there, num_requested(seconds, config.num_frames, config.frames_per_second))

    def _middle(self, cell: Any, root: Path) -> np.ndarray:
        if isinstance(cell, np.ndarray):
            return cell
        (frame,) = decode_video(cell, root, num_frames=1, max_pixels=self.config.max_pixels)
        image = Image.fromarray(frame.pixels)
        image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BILINEAR)
        return np.array(image)

    def _item(self, value: Any, source: SourceInfo, root: Path) -> Sequence[Item]:
        if isinstance(value, np.ndarray):  # an image among videos
            return self._frame_items(value, None, source, root)
        # Where no training cell had more than one frame, the model knows no place for more.
        num_frames = self.config.num_frames if self.column.multiple else 1
        frame = self.column.frame
        _, height, width = modality(frame.modality).item_shape(frame, 1)
        frames = decode_video(
            value,
            root,
            num_frames=num_frames,
            frames_per_second=self.config.frames_per_second if num_frames > 1 else None,
            size_hint=(height, width),
            max_pixels=self.config.max_pixels,
        )
        return [item for one in frames for item in self._frame_items(one.pixels, one.size, source, root)]

    def _frame_items(
        self, pixels: np.ndarray, size: tuple[int, int] | None, source: SourceInfo, root: Path
    ) -> list[Item]:
        """A frame, perhaps reduced from a size, as the column's item."""
        decoded = self.frames.decoded(pixels, source, root)
        items, placement = decoded.items, decoded.placement
        if placement is None:
            return [*items]
        return [PlacedItem(item, placement if size is None else placement.reduced(size)) for item in items]

    def finished(self, item: np.ndarray) -> np.ndarray:
        """A frame is finished as an image."""
        return self.frames.finished(item)

    def decoding_facts(self) -> dict[str, Any]:
        """See `ColumnProcessor`."""
        facts = super().decoding_facts()
        del facts["column"]["frame"], facts["state"]["frames"]
        return {**facts, "frames": self.frames.decoding_facts()}

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        return self.frames.restore(value, spelled=spelled)

    def _state(self, folder: Path) -> dict[str, Any]:
        return {"frames": self.frames.save(folder / "frames")}

    def _restore(self, state: Mapping[str, Any], folder: Path) -> None:
        self.frames = ColumnProcessor.load(state["frames"], folder / "frames")

"""Pictures, and videos as a few pictures each: decoded, resized to one size for the column, kept in uint8.

Normalising waits until the batch is on its device: a uint8 picture takes a quarter of the memory and of the transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from PIL import Image

from polysense.core.modality import Modality
from polysense.core.sample import SourceInfo
from polysense.core.schema import Column, Requirements
from polysense.data.column import NUM_SAMPLED, ColumnConfig, ColumnProcessor, TrainingCells
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.image.decode import MAX_PIXELS, image_size, is_animation, open_image
from polysense.modalities.video.decode import decode_video, is_video, num_wanted, video_info

__all__ = ["ImageColumnConfig", "ImageProcessor"]

_LONGEST = 128  # pixels: above it, a network trained from scratch gains little and costs in proportion to the area
_MULTIPLE = 8  # three halvings without a remainder
_NUM_VIDEOS = 64  # that statistics come from: the middle of a long one takes a second to reach
_FRAMES = 8  # half a second apart in a clip of four seconds
_MOST_FRAMES = 64  # with frames_per_second: 64 frames of 128 px are 3 MB a row


@dataclass(frozen=True, kw_only=True)
class ImageColumnConfig(ColumnConfig):
    """Pictures: JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF; or videos (MP4, WebM, MOV, AVI, MKV), as frames.

    Each frame is one item of its cell, as if the cell were a list of pictures; `items: sequence` of the encoder tells
    their order.

    Attributes:
        size: (height, width) in pixels that every picture is brought to, or auto. Auto keeps the pictures' own size if
            all are equal and at most 128 pixels high and wide; else it takes their median height and width, shrunk
            together until the longer is at most 128, each rounded to a multiple of 8.
        fit: How a picture of another shape is brought to that size. pad keeps its shape and fills the rest with the
            column's mean colour; crop keeps its shape and cuts what juts out; stretch bends it.
        channels: 1 (grey), 3 (RGB) or auto, which is 1 only if all training pictures that were looked at are grey.
        frames: How many evenly spaced frames a video becomes; a shorter one gives all that it has. auto: 8, and with
            frames_per_second at most 64. Where a number or frames_per_second is given, moving GIF, WebP and PNG
            pictures are videos too; else of these the first picture counts.
        frames_per_second: Takes as many frames as this makes of the video's length, at most `frames`; null takes
            `frames` of every video.
        max_pixels: A picture (a video's frame) with more pixels than this is not opened and counts as unreadable.
    """

    type: Literal["image"] = "image"
    size: tuple[int, int] | Literal["auto"] = "auto"
    fit: Literal["pad", "crop", "stretch"] = "pad"
    channels: Literal[1, 3, "auto"] = "auto"
    frames: int | Literal["auto"] = "auto"
    frames_per_second: float | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.size != "auto" and min(self.size) < 1:
            raise ValueError("expected a height and a width of at least 1 pixel")
        if self.frames != "auto" and not 1 <= self.frames <= 10_000:
            raise ValueError("frames: expected 1 to 10000, or auto")
        if self.frames_per_second is not None and not 0 < self.frames_per_second <= 1000:
            raise ValueError("frames_per_second: expected more than 0 and at most 1000, or null")
        if self.max_pixels < 1:
            raise ValueError("max_pixels: expected at least 1")

    @property
    def num_frames(self) -> int:
        """Frames of a video at most."""
        if self.frames != "auto":
            return self.frames
        return _FRAMES if self.frames_per_second is None else _MOST_FRAMES

    def build(self, name: str) -> ImageProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return ImageProcessor(name, self)


class ImageProcessor(ColumnProcessor):
    """Decodes and resizes pictures and frames; each item is uint8 [channels, height, width]."""

    config: ImageColumnConfig
    _modality = Modality.IMAGE

    def _fit(self, guess: Column, cells: TrainingCells, root: Path, requirements: Requirements) -> Column:
        config = self.config
        size = _agreed(self.name, "size", config.size, requirements.image_size)
        required = requirements.num_channels or (len(requirements.mean) if requirements.mean else None)
        channels = _agreed(self.name, "channels", config.channels, required)
        has_videos = any(self._may_be_video(cell, root) for cell, _ in cells.items(NUM_SAMPLED))
        limit = _NUM_VIDEOS if has_videos else NUM_SAMPLED
        num_frames = config.num_frames if has_videos else 1
        if size is None or (has_videos and config.frames_per_second is not None):
            infos = cells.read(self.name, "images", lambda cell, _: self._info(cell, root), limit, tell=False)
            size = size or _common_size([info[0] for info in infos])
            num_frames = min(num_frames, max(info[1] for info in infos))
        # The statistics are those of the resized pictures, each counting equally, without the padding; a video counts
        # by the frame in its middle.
        moments = np.array(
            cells.read(self.name, "images", lambda cell, _: _moments(self._pictures(cell, root, size, 1)[0]), limit)
        )
        if channels is None:
            channels = 1 if moments[:, 0, 0].all() else 3
        _, means, squares = moments.mean(axis=0)
        if channels == 1:
            means, squares = means[3:], squares[3:]
        else:
            means, squares = means[:3], squares[:3]
        spread = np.sqrt(np.maximum(squares - means**2, 0.0))
        spread = np.where(spread < 1e-3, 1.0, spread)  # one flat colour throughout: nothing to scale by
        return guess.replace(
            multiple=guess.max_items * num_frames > 1,
            max_items=guess.max_items * num_frames,
            image_size=size,
            num_channels=channels,
            mean=requirements.mean or tuple(float(value) for value in means),
            std=requirements.std or tuple(float(value) for value in spread),
        )

    def _is_video(self, cell: Any, root: Path) -> bool:
        config = self.config
        if is_video(cell, root):
            return True
        stated = config.frames != "auto" or config.frames_per_second is not None
        return stated and isinstance(cell, (str, Path, bytes, dict)) and is_animation(cell, root)

    def _may_be_video(self, cell: Any, root: Path) -> bool:
        try:
            return self._is_video(cell, root)
        except DecodeError:
            return False

    def _info(self, cell: Any, root: Path) -> tuple[tuple[int, int], int]:
        """(height, width) and the number of pictures that it becomes."""
        config = self.config
        if not self._is_video(cell, root):
            return image_size(cell, root, max_pixels=config.max_pixels), 1
        size, num_there, seconds = video_info(cell, root, max_pixels=config.max_pixels)
        return size, min(num_there, num_wanted(seconds, config.num_frames, config.frames_per_second))

    def _pictures(self, cell: Any, root: Path, size: tuple[int, int], num_frames: int) -> list[Image.Image]:
        """The picture, or a video's frames, decoded and resized, their shape kept unless `stretch`."""
        config = self.config
        if self._is_video(cell, root):
            found = decode_video(
                cell,
                root,
                num_frames=num_frames,
                frames_per_second=config.frames_per_second if num_frames > 1 else None,
                size_hint=size,
                max_pixels=config.max_pixels,
            )
            return [self._scaled(Image.fromarray(frame.pixels), size) for frame in found]
        return [self._scaled(open_image(cell, root, size_hint=size, max_pixels=config.max_pixels), size)]

    def _scaled(self, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
        if picture.size == (size[1], size[0]):
            return picture
        return picture.resize(self._inner(picture.size, size), Image.Resampling.BILINEAR)

    def _inner(self, picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to resize to."""
        height, width = size
        if self.config.fit == "stretch":
            return width, height
        scales = width / picture[0], height / picture[1]
        scale = min(scales) if self.config.fit == "pad" else max(scales)
        return max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        pixels = np.clip(np.rint(value * 255), 0, 255).astype(np.uint8)
        file = BytesIO()
        Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG")
        return file.getvalue()

    def _item(self, value: Any, source: SourceInfo, root: Path) -> list[np.ndarray]:
        column = self.column
        assert column.image_size is not None
        assert column.num_channels is not None
        if not column.multiple and self._is_video(value, root):
            # In training no cell had more than one picture, so the model knows no place for more.
            num_frames = 1
        else:
            num_frames = self.config.num_frames
        items = []
        for picture in self._pictures(value, root, column.image_size, num_frames):
            if picture.mode == "RGB" and column.num_channels == 1:
                picture = picture.convert("L")
            pixels = np.array(picture)
            items.append(_placed(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), column))
        return items


def _placed(pixels: np.ndarray, column: Column) -> np.ndarray:
    """Centred on a canvas of the column's mean colour, cut where it juts out; contiguous."""
    assert column.image_size is not None
    assert column.num_channels is not None
    assert column.mean is not None
    shape = (column.num_channels, *column.image_size)
    if pixels.shape == shape:
        return np.ascontiguousarray(pixels)
    canvas = np.empty(shape, dtype=np.uint8)
    canvas[:] = np.clip(np.rint(np.array(column.mean) * 255), 0, 255).astype(np.uint8)[:, None, None]
    source, target = [slice(None)], [slice(None)]
    for have, want in zip(pixels.shape[1:], shape[1:], strict=True):
        shared = min(have, want)
        source.append(slice((have - shared) // 2, (have - shared) // 2 + shared))
        target.append(slice((want - shared) // 2, (want - shared) // 2 + shared))
    canvas[tuple(target)] = pixels[tuple(source)]  # one grey channel is spread over three
    return canvas


def _agreed(name: str, key: str, asked: Any, required: Any) -> Any:
    """What the recipe asks for or the pretrained encoder requires; None if both leave it open."""
    if asked == "auto":
        return required
    if required is not None and asked != required:
        raise ColumnError(
            f"column {name!r}: {key} is {asked} in the recipe, but its pretrained encoder needs {required}; "
            f"set {key}: auto, or choose another encoder"
        )
    return asked


def _common_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) by the rule that ImageColumnConfig states."""
    if len(set(sizes)) == 1 and max(sizes[0]) <= _LONGEST:
        return sizes[0]
    height, width = median(size[0] for size in sizes), median(size[1] for size in sizes)
    scale = min(1.0, _LONGEST / max(height, width))
    return _rounded(height * scale), _rounded(width * scale)


def _rounded(pixels: float) -> int:
    return max(_MULTIPLE, int(pixels / _MULTIPLE + 0.5) * _MULTIPLE)


def _moments(picture: Image.Image) -> np.ndarray:
    """[3, 4]: whether it is grey; means of R, G, B and grey; means of their squares; all of values in [0, 1]."""
    pixels = np.asarray(picture)
    grey = pixels if pixels.ndim == 2 else np.asarray(picture.convert("L"))
    is_grey = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
    planes = [grey] * 3 if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]
    values = [plane.astype(np.float64) / 255 for plane in [*planes, grey]]
    return np.array([[is_grey] * 4, [v.mean() for v in values], [(v * v).mean() for v in values]])

"""Images: decoded, resized to one size for the column, kept in uint8.

Normalizing waits until the batch is on its device: a uint8 image takes a quarter of the memory and of the transfer.
Images of more than 8 bits are scaled by one range for the column, fitted on the training images: 12 bits in a file of
16 would be nearly black otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from polysense.config.limits import PositiveInt
from polysense.core.geometry import Placement
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.core.windows import Window, Windows
from polysense.data.cleaning import NUM_COUNTED
from polysense.data.column import NUM_SAMPLED, ColumnConfig, ColumnProcessor, PlacedItem, TrainingCells
from polysense.data.media.deep_pixels import DeepRange
from polysense.data.media.pixels import Fit, Resize, common_size, moments
from polysense.data.media.raster import MAX_PIXELS, ImageInfo, Upright, image_info, open_upright
from polysense.data.media.sniff import file_kind
from polysense.data.media.time_limit import within_limit
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.image.record import ImageColumn, ImageRequirements

__all__ = ["ImageColumnConfig", "ImageProcessor"]


@dataclass(frozen=True, kw_only=True)
class ImageColumnConfig(ColumnConfig):
    """Images: JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF and others that Pillow reads; of moving ones the first frame.

    Attributes:
        size: (height, width) in pixels that every image is brought to, or auto. Auto keeps the images' own size if
            all are equal and at most 128 pixels high and wide; else it takes their median height and width, shrunk
            together until the longer is at most 128, each rounded to a multiple of 8.
        fit: How an image with another aspect ratio is resized. pad keeps the aspect ratio and pads with the column's
            mean color; crop keeps the aspect ratio and crops the rest; stretch changes the aspect ratio.
        channels: 1 (gray), 3 (RGB) or auto, which is 1 only if all training images that were looked at are gray.
        max_pixels: An image with more pixels than this is not opened and counts as unreadable.
    """

    modality: ClassVar[str] = "image"
    type: Literal["image"] = "image"
    size: tuple[int, int] | Literal["auto"] = "auto"
    fit: Fit = "pad"
    channels: Literal[1, 3, "auto"] = "auto"
    max_pixels: PositiveInt = MAX_PIXELS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size != "auto" and min(self.size) < 1:
            raise ValueError("expected a height and a width of at least 1 pixel")

    def build(self, name: str) -> ImageProcessor:
        """The preprocessing of the column of that name, not yet fitted."""
        return ImageProcessor(name, self)


class ImageProcessor(ColumnProcessor):
    """Decodes and resizes images; each item is uint8 [channels, height, width]."""

    packages = ("pillow",)
    config: ImageColumnConfig
    ending = "png"

    @property
    def column(self) -> ImageColumn:
        """See `ColumnProcessor`."""
        return ImageColumn.of(super().column)

    def resize(self) -> Resize:
        """What brings an image to the column's size, and says where a point of it comes to lie."""
        return Resize(self.column.image_size, self.config.fit)

    def _fit(self, cells: TrainingCells, root: Path, requirements: Requirements) -> ImageColumn:
        requirements, config = ImageRequirements.of(requirements), self.config
        size = _agreed(self.name, "size", config.size, requirements.image_size)
        required = requirements.num_channels or (len(requirements.mean) if requirements.mean else None)
        channels = _agreed(self.name, "channels", config.channels, required)
        infos = cells.read(self.name, "images", lambda cell, _: self._info(cell, root), NUM_SAMPLED, tell=False)
        if size is None:
            size = common_size([info.size for info in infos])
        deep = DeepRange.of(info.extent for info in infos if info.extent is not None)
        # The statistics are those of the resized images, each counting equally, without the padding.
        resize = Resize(size, config.fit)
        result = np.array(
            cells.read(
                self.name, "images", lambda cell, _: moments(self._scaled(cell, root, resize, deep)[0]), NUM_SAMPLED
            )
        )
        self.cleaner.count_media(
            lambda: cells.read(
                self.name, "images", lambda cell, _: self._opened(cell, root, resize, deep), NUM_COUNTED, tell=False
            )
        )
        if channels is None:
            channels = 1 if result[:, 0, 0].all() else 3
        _, means, squares = result.mean(axis=0)
        if channels == 1:
            means, squares = means[3:], squares[3:]
        else:
            means, squares = means[:3], squares[:3]
        spread = np.sqrt(np.maximum(squares - means**2, 0.0))
        spread = np.where(spread < 1e-3, 1.0, spread)  # one flat color throughout: nothing to scale by
        return ImageColumn(
            name=self.name,
            image_size=size,
            num_channels=channels,
            mean=requirements.mean or tuple(float(value) for value in means),
            std=requirements.std or tuple(float(value) for value in spread),
            whole_range=deep.whole,
            float_range=deep.floats,
        )

    def _info(self, cell: Any, root: Path) -> ImageInfo:
        with _hinted(cell, self.config.modality):
            return image_info(cell, root, max_pixels=self.config.max_pixels)

    def _opened(self, cell: Any, root: Path, resize: Resize, deep: DeepRange) -> Upright:
        with _hinted(cell, self.config.modality):
            return open_upright(cell, root, size_hint=resize.size, max_pixels=self.config.max_pixels, deep=deep)

    def _scaled(self, cell: Any, root: Path, resize: Resize, deep: DeepRange) -> tuple[Image.Image, Placement]:
        """The image, decoded, cleaned and scaled, its shape kept unless `stretch`; and its place in the original."""
        whole = self._opened(cell, root, resize, deep)
        upright: Upright = self.cleaner.media(whole)
        matrix = resize.matrix(*upright.size)
        if upright is not whole:  # from the original's corner to that of what is left
            scales = [size / (whole.box[k + 2] - whole.box[k]) for k, size in enumerate(whole.size[::-1])]
            offsets = [(upright.box[k] - whole.box[k]) * scales[k] for k in range(2)]
            shift = np.array([[1, 0, -offsets[0]], [0, 1, -offsets[1]], [0, 0, 1]], dtype=matrix.dtype)
            matrix = matrix @ shift
        return resize.scaled(*upright), Placement(matrix, whole.size)

    def _cell_of(self, value: np.ndarray, spelled: bool) -> object:
        pixels = np.clip(np.rint(value * 255), 0, 255).astype(np.uint8)
        file = BytesIO()
        Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG")
        return file.getvalue()

    def _item(self, value: Any, source: SourceInfo, root: Path) -> PlacedItem:
        column, resize = self.column, self.resize()
        image, placement = self._scaled(value, root, resize, DeepRange(column.whole_range, column.float_range))
        return PlacedItem(self._pixels(image), placement)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        """What the column's size shows of a scaled image, uint8 [channels, height, width]."""
        if image.mode == "RGB" and self.column.num_channels == 1:
            image = image.convert("L")
        pixels = np.array(image)
        return self.resize().cropped(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))

    def cut(self, cell: object, root: Path, windows: Windows) -> list[tuple[np.ndarray, Window]]:
        """The windows of a single large image, each as `transform` gives an image of that size, and where they lie;
        none where it fits into one.

        Raises:
            DecodeError: It can't be read.
        """
        cell = self._read(cell)
        value = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
        column, resize = self.column, self.resize()
        deep = DeepRange(column.whole_range, column.float_range)

        def opened() -> Upright:
            with _hinted(value, self.config.modality):
                return open_upright(value, root, max_pixels=self.config.max_pixels, deep=deep)

        upright: Upright = self.cleaner.media(within_limit(opened, value))
        left, top, right, bottom = (round(edge) for edge in upright.box)
        if value is None or not windows.cut((bottom - top, right - left)):
            return []
        results: list[tuple[np.ndarray, Window]] = []
        for down, across, high, wide in windows.boxes((bottom - top, right - left)):
            box = (left + across, top + down, left + across + wide, top + down + high)
            item = self._pixels(resize.scaled(upright.image.crop(box)))
            placement = Placement(resize.matrix(high, wide), (high, wide))
            results.append((self.finished(item), Window(top + down, left + across, placement)))
        return results

    def finished(self, item: np.ndarray) -> np.ndarray:
        """Pads with the training images' mean color; spreads one channel over as many as the column has."""
        column = self.column
        if item.shape == (column.num_channels, *column.image_size):
            return np.ascontiguousarray(item)
        fill = np.clip(np.rint(np.array(column.mean) * 255), 0, 255).astype(np.uint8)
        return self.resize().placed(item, fill)

    def decoding_facts(self) -> dict[str, Any]:
        """See `ColumnProcessor`."""
        facts = super().decoding_facts()
        for name in ("mean", "std"):
            del facts["column"][name]
        return facts


@contextmanager
def _hinted(cell: object, modality: str) -> Iterator[None]:
    """Says of what can't be read as an image which type of column reads it, if one does."""
    try:
        yield
    except DecodeError as error:
        kind = file_kind(cell)
        if kind is None or kind == modality:
            raise
        raise DecodeError(f"{error}; a column of the type {kind} reads it") from None


def _agreed(name: str, key: str, requested: Any, required: Any) -> Any:
    """What the recipe asks for or the pretrained encoder requires; None if both leave it open."""
    if requested == "auto":
        return required
    if required is not None and requested != required:
        raise ColumnError(
            f"column {name!r}: {key} is {requested} in the recipe, but its pretrained encoder needs {required}; "
            f"set {key}: auto, or choose another encoder"
        )
    return requested

"""A cell as an image that is to be generated.

Images are read as those of an input column are, by the same code: turned upright, transparency on white, gray kept
gray, deep ones scaled by one range. What can't be read is listed with its row, which then has no target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np

from polysense.config.codec import from_dict
from polysense.core.logs import get_logger
from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements, Target
from polysense.data.column import ColumnConfig, ColumnProcessor
from polysense.data.features import FeatureConfig
from polysense.data.media.pixels import Fit, common_size
from polysense.data.media.raster import image_size
from polysense.data.prompt import Prompt
from polysense.data.tables.sources import Table
from polysense.data.target import ColumnTargetConfig, TargetProcessor
from polysense.data.training_cells import sampled
from polysense.data.values.cells import clean
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.image_generation.pixels import THUMBNAIL, encode_png, thumbnail
from polysense.tasks.image_generation.reader import ImageReader, class_name
from polysense.tasks.image_generation.record import CHANGED, FREE, ImageGenerationTarget
from polysense.tasks.image_generation.training_images import TrainingImages, fit_classifier

__all__ = ["ImageGenerationProcessor", "ImageGenerationTargetConfig"]

_log = get_logger("polysense.data.targets")

_LONGEST = 64  # pixels; a network's cost grows with their number, at training and for every step of generation
_MULTIPLE = 8
_MOST_KEPT = 10_000  # training images that are compared with
_MOST_LEARNED = 5_000  # training images that the classifier learns from
_MOST_CLASSES = 200
_WHITE = 128
_FEATURES = ({"type": "hog", "cells": 4}, {"type": "color_histogram"})


@dataclass(frozen=True, kw_only=True)
class ImageGenerationTargetConfig(ColumnTargetConfig):
    """An image, generated from the other columns.

    Attributes:
        column: The table's column of image files; null if it is named as the target.
        size: (height, width) in pixels of the generated images, or auto: the images' own if all are equal and at most
            64 pixels high and wide; else their median height and width, shrunk together until the longer is at most 64.
        fit: How an image with another aspect ratio is resized. crop keeps the aspect ratio and crops the rest; pad
            keeps it and pads with the images' mean color; stretch changes it.
        channels: 1 (gray), 3 (RGB) or auto, which is 1 only if all training images that were looked at are gray.
        shown: The table's column of the class that an image shows, by which generated images are judged: a classifier
            without weights is fitted on the training images. auto takes the first input column of categories with at
            most 200 different ones; null judges by no class.
        start: A column of images that generation starts from at prediction, in rows that have one: image-to-image, by
            the head's `strength`. Null: there is none.
        mask: A column of images over those of `start`: what is black there is kept, what is white is generated
            (inpainting). Null: there is none.
    """

    task: ClassVar[str] = "image_generation"
    type: Literal["image_generation"] = "image_generation"
    size: tuple[int, int] | Literal["auto"] = "auto"
    fit: Fit = "crop"
    channels: Literal[1, 3, "auto"] = "auto"
    shown: str | None = "auto"
    start: str | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        if self.size != "auto" and min(self.size) < 1:
            raise ValueError("size: expected a height and a width of at least 1 pixel")
        if self.mask is not None and self.start is None:
            raise ValueError("mask: it says what is kept of the images of `start`, which is null; name their column")

    def build(self, name: str) -> ImageGenerationProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return ImageGenerationProcessor(name, self)


class ImageGenerationProcessor(TargetProcessor):
    """Reads images; the value is uint8 [channels, height, width]."""

    config: ImageGenerationTargetConfig
    _images: ColumnProcessor
    _training: TrainingImages

    # --- fitting -------------------------------------------------------------------------------------------------

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        (column,) = self.columns
        where, root = f"{table.name}, target column {column!r}", table.root_of(column)
        single = [None if isinstance(cell, list) and len(cell) != 1 else cell for cell in map(clean, cells[0])]
        there = [i for i, cell in enumerate(single) if cell is not None]
        if not there:
            raise ColumnError(f"{where}: no training row holds one image; expected a file in each cell")
        size = self.config.size if self.config.size != "auto" else _size([single[i] for i in sampled(there)], root)
        plain = {"type": "image", "size": size, "fit": self.config.fit, "channels": self.config.channels}
        self._images = from_dict(ColumnConfig, plain, where=where).build(column)  # type: ignore[type-abstract]
        sources = _Sources(table, column)
        try:
            self._images.fit(single, sources, root, Requirements())
            features = [from_dict(FeatureConfig, dict(one), where=where) for one in _FEATURES]
            self._images.fit_features(features, single, sources, root)
        except ColumnError as error:
            raise ColumnError(f"{where}: can't be generated: {error}") from None
        shown, classes = self._shown(table, there)
        self._training = self._kept(table, single, there, shown, classes)
        record = cast("Any", self._images.column)  # an image's own
        height, width = record.image_size
        judged = f", judged by {len(classes)} classes of column {shown!r}" if shown else ""
        _log.info(
            "%s: images of %d x %d pixels, %s%s",
            where, width, height, "gray" if record.num_channels == 1 else "in color", judged,
        )  # fmt: skip
        return ImageGenerationTarget(
            name=self.name,
            columns=self.columns,
            num_rows=len(there),
            image_size=(height, width),
            num_channels=record.num_channels,
            mean=record.mean,
            std=record.std,
            shown=shown,
            shown_classes=classes,
            starts=self.config.start is not None,
        )

    def _shown(self, table: Table, there: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """The column of the class that an image shows, and its classes."""
        requested = self.config.shown
        if requested is None:
            return "", ()
        if requested == "auto":
            names = [name for name, kind in self._inputs.items() if kind == "category" and table.has(name)]
        else:
            table.require(requested, f"class that an image of target {self.name!r} shows")
            names = [requested]
        for name in names:
            values = {class_name(table.cell(i, name)) for i in there} - {None}
            if 2 <= len(values) <= _MOST_CLASSES:
                return name, tuple(sorted(cast("set[str]", values)))
            if requested != "auto":
                raise ColumnError(
                    f"{table.name}, column {name!r}: found {len(values):,} different classes that images of target "
                    f"{self.name!r} show, expected 2 to {_MOST_CLASSES}; name another column as `shown`, or null"
                )
        return "", ()

    def _kept(
        self, table: Table, cells: Sequence[object], there: Sequence[int], shown: str, classes: Sequence[str]
    ) -> TrainingImages:
        """Reads the training images once more, each for its thumbnail and some for the classifier."""
        ids, root = {name: i for i, name in enumerate(classes)}, table.root_of(self.columns[0])
        thumbnails, features, labels = list[np.ndarray](), list[np.ndarray](), list[int]()
        for i in sampled(there, _MOST_KEPT):
            try:
                (pixels,) = self._images.transform(cells[i], table.source(i, self.columns[0]), root)
            except DecodeError:
                continue  # it is listed when its row is read
            thumbnails.append(thumbnail(pixels))
            name = class_name(table.cell(i, shown)) if shown else None
            if (name is not None or not features) and len(features) < _MOST_LEARNED:
                features.append(self._images.extract(b"", [pixels]))
                labels.append(0 if name is None else ids[name])
        if len(there) > _MOST_KEPT:
            _log.info("target %r: %d of %d training images are kept to compare with", self.name, _MOST_KEPT, len(there))
        return TrainingImages(np.stack(thumbnails), fit_classifier(features, labels, len(classes)))

    # --- reading -------------------------------------------------------------------------------------------------

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its table")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        (column,) = self.columns
        read = self._images.transform(cells[0], table.source(i, column), table.root_of(column))
        return read[0] if read else None

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        """The columns of start images and their masks."""
        return tuple(name for name in (self.config.start, self.config.mask) if name is not None)

    def prompt(self, table: Table, i: int) -> Prompt | None:
        """The row's start image, value by value, with what its mask leaves of it; None without one."""
        start, mask = (self._image(table, i, name) for name in (self.config.start, self.config.mask))
        if start is None:
            return None
        values = start.astype(np.int32)
        if mask is None:
            return Prompt(values.ravel() + CHANGED)
        is_free = np.broadcast_to(mask.mean(axis=0) >= _WHITE, values.shape)
        return Prompt(np.where(is_free, FREE, values).ravel())

    def _image(self, table: Table, i: int, column: str | None) -> np.ndarray | None:
        """An image of a column, as those of the target are read."""
        if column is None or not table.has(column):
            return None
        read = self._images.transform(table.cell(i, column), table.source(i, column), table.root_of(column))
        return read[0] if read else None

    def features(self, images: np.ndarray) -> np.ndarray:
        """The feature vectors of images, uint8 [images, channels, height, width]; float32 [images, features]."""
        return np.stack([self._images.extract(b"", [np.ascontiguousarray(one)]) for one in images])

    @property
    def training_images(self) -> TrainingImages:
        """What is kept of the training images."""
        return self._training

    def reader(self, table: Table) -> ImageReader:
        target = ImageGenerationTarget.of(self.target)
        return ImageReader(table, self._training, self.features, target.shown, target.shown_classes)

    def render(self, value: Any) -> bytes:
        """An image as its PNG file."""
        return encode_png(np.asarray(value, dtype=np.uint8))

    # --- saving --------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {"images": self._images.save(Path())}  # of images nothing is a file

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._images = ColumnProcessor.load(state["images"], Path())

    def _write(self, folder: Path) -> None:
        self._training.write(folder)

    def _read(self, state: Mapping[str, Any], folder: Path) -> None:
        target = ImageGenerationTarget.of(self.target)
        num_values, num_features = target.num_channels * THUMBNAIL**2, self._images.column.num_features
        self._training = TrainingImages.read(folder, num_values, num_features, len(target.shown_classes))

    def taken_over(self, name: str, config: Any) -> TargetProcessor:
        other = super().taken_over(name, config)
        assert isinstance(other, ImageGenerationProcessor)
        other._images = self._images.taken_over(other.columns[0], None)
        return other


@dataclass(frozen=True)
class _Sources(Sequence[SourceInfo]):
    """Where each cell comes from, made when asked for."""

    table: Table
    column: str

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: Any) -> Any:
        return self.table.source(i, self.column)


def _size(cells: Sequence[object], root: Path) -> tuple[int, int]:
    """(height, width) for images of these sizes: those of `common_size`, but at most 64 pixels."""
    sizes = []
    for cell in cells:
        try:
            sizes.append(image_size(cell[0] if isinstance(cell, list) else cell, root))
        except DecodeError:
            continue  # nothing can be read: the column says so
    if not sizes:
        return _LONGEST, _LONGEST
    height, width = common_size(sizes)
    if max(height, width) <= _LONGEST:
        return height, width
    scale = _LONGEST / max(height, width)
    return tuple(max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in (height, width))  # type: ignore[return-value]

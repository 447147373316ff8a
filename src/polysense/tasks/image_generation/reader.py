"""A fitted target beside a table: what generated images are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polysense.data.tables.sources import Table
from polysense.tasks.image_generation.pixels import encode_png
from polysense.tasks.image_generation.training_images import TrainingImages

__all__ = ["ImageReader", "class_name"]


@dataclass(frozen=True, eq=False)
class ImageReader:
    """See `core.task_spec.TargetReader`.

    Attributes:
        table: The rows.
        training: What is kept of the training images.
        features: The feature vectors of images, uint8 [images, channels, height, width].
        shown: The column of the class that an image shows; "" for none.
        classes: Its classes.
    """

    table: Table
    training: TrainingImages
    features: Callable[[np.ndarray], np.ndarray]
    shown: str
    classes: tuple[str, ...]

    def spell(self, value: np.ndarray) -> bytes:
        """An image as its PNG file."""
        return encode_png(value)

    def references(self, row: int) -> Sequence[str]:
        """No image has words."""
        return ()

    def shown_classes(self, rows: np.ndarray) -> np.ndarray:
        """int64 [rows], the class that each row's image is to show; -1 where it is not known."""
        if not self.shown or not self.table.has(self.shown):
            return np.full(len(rows), -1)
        ids = {name: i for i, name in enumerate(self.classes)}
        names = (class_name(self.table.cell(int(row), self.shown)) for row in rows)
        return np.array([-1 if name is None else ids.get(name, -1) for name in names], dtype=np.int64)


def class_name(cell: object) -> str | None:
    """A cell that names a class; None where it is empty or holds several."""
    if cell is None or isinstance(cell, (list, dict, bytes)):
        return None
    return str(cell).strip() or None

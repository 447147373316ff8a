"""What was learned of a target that is a class for every pixel of an image column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.schema import Target

__all__ = ["SegmentationTarget"]


@dataclass(frozen=True, kw_only=True)
class SegmentationTarget(Target):
    """A class for every pixel.

    A mask's ids are the classes' positions; two more say what is no class: `other` and `void`.

    Attributes:
        classes: The class names in id order.
        class_counts: Training images in which each class occurs, in the same order.
        class_shares: Each class's share of the pixels, every image counting the same.
        values: What a pixel of each class has in a written mask.
        over: The input column of images that the masks lie on.
        size: (height, width) of the masks that are learned from, which are resized as that column's images.
    """

    task: str = "segmentation"
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    class_shares: tuple[float, ...] = ()
    values: tuple[int, ...] = ()
    over: str = ""
    size: tuple[int, int] = (0, 0)

    @property
    def other(self) -> int:
        """The id of pixels whose class the training masks do not hold: not learned from, and counted as wrong."""
        return len(self.classes)

    @property
    def void(self) -> int:
        """The id of pixels that are counted out."""
        return len(self.classes) + 1

    @property
    def dtype(self) -> type[np.generic]:
        """Of masks in memory."""
        return np.uint8 if self.void < 256 else np.int16

    @property
    def void_value(self) -> int:
        """What a written mask has in pixels that the model has not seen: 255, or the first value that is no class's."""
        return 255 if 255 not in self.values else next(v for v in range(2**16) if v not in self.values)

"""What targets share that say where in the items of an input column something is, all brought to one size."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from polysense.data.column import ColumnProcessor
from polysense.data.media.pixels import Resize
from polysense.data.media.raster import image_size
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError, DecodeError

__all__ = ["PlacedTargetProcessor", "usual_boxes"]

_MOST_USUAL = 100


@runtime_checkable
class _Resizes(Protocol):
    """A column whose items are all brought to one size."""

    def resize(self) -> Resize: ...


class PlacedTargetProcessor(TargetProcessor):
    """Knows the column that the target lies in; its config has `over`, which names it or is None.

    Attributes:
        part: What lies in it: "mask", and several of them.
        preposition: Between the two: a mask lies "on" an image.
    """

    part: ClassVar[tuple[str, str]]
    preposition: ClassVar[str]

    _column: ColumnProcessor | None = None
    _places: _Resizes
    _over: str = ""

    @property
    def over(self) -> str:
        """The input column that the target lies in."""
        return self._over

    def attach(self, columns: Mapping[str, ColumnProcessor]) -> None:
        """Settles which column that is; see the base."""
        where, over = f"target {self.name!r}", getattr(self.config, "over", None)
        images = {name: column for name, column in columns.items() if isinstance(column, _Resizes)}
        if over is None:
            if len(images) != 1:
                several = f"it may be {' or '.join(map(repr, images))}" if images else "none holds images"
                raise ColumnError(
                    f"{where}: which input column do its {self.part[1]} lie {self.preposition}? {several}; say so with "
                    "`over`"
                )
            (over,) = images
        if over not in images:
            what = f"a column of type {columns[over].config.type}" if over in columns else "no input column"
            raise ColumnError(f"{where}: over names {over!r}, {what}; expected a column of images")
        self._over, self._column, self._places = over, columns[over], images[over]

    def require_single_items(self, where: str) -> None:
        """Raises ColumnError where a cell of the column holds several items."""
        assert self._column is not None
        if self._column.column.multiple:
            raise ColumnError(
                f"{where}: column {self._over!r} holds lists of several images, and a {self.part[0]} lies "
                f"{self.preposition} one"
            )

    @property
    def source(self) -> str:
        """The table's column that the items are read from."""
        assert self._column is not None
        return self._column.source

    def size_of_item(self, table: Table, i: int) -> tuple[int, int] | None:
        """(height, width) of a row's item; None where it is missing or can't be read, which is listed with it."""
        cell = table.cell(i, self.source) if table.has(self.source) else None
        if cell is not None:
            with contextlib.suppress(DecodeError):
                return image_size(cell, table.root_of(self.source))
        return None


def usual_boxes(by_class: Sequence[Sequence[np.ndarray]], num_images: int) -> tuple[tuple[float, ...], ...]:
    """Boxes that stand for those of the training rows, for a baseline that predicts them for every image.

    Args:
        by_class: Of each class, for each image that has it, float [boxes, 4]: left, top, right and bottom as fractions
            of the image's width and height.
        num_images: Of all.

    Returns:
        Of each class that there is (its id, share of the images that have it, left, top, right, bottom), the median
        box; the most frequent first, and a hundred of them at most.
    """
    occurrences = sorted(((len(images), index) for index, images in enumerate(by_class) if images), reverse=True)
    return tuple(
        (float(index), num / num_images, *np.median(np.concatenate(by_class[index]), axis=0).tolist())
        for num, index in occurrences[:_MOST_USUAL]
    )

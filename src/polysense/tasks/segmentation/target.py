"""A cell as a mask: a class for each pixel of the same row's image.

Masks are resized as the images are, by the nearest pixel, and kept as one id a pixel. A row whose image is missing has
a truth all the same: what it shows is then known from the other columns alone.

A class that the training masks do not hold can't be predicted. Its pixels are not void: they count as wrong, since
leaving them out would make a score better the less the training has seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.schema import Target
from polysense.data.placed_target import PlacedTargetProcessor
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.segmentation.masks import Mask, read_mask
from polysense.tasks.segmentation.record import SegmentationTarget

__all__ = ["SegmentationProcessor", "SegmentationTargetConfig"]

_log = get_logger("polysense.data.targets")

_MOST_READ = 5_000  # training masks that classes are learned from
_MOST_CLASSES = 1_000
_USUAL_VOID = "255"


@dataclass(frozen=True, kw_only=True)
class SegmentationTargetConfig(TargetConfig):
    """A class for every pixel of an image column: masks as PNG files, polygons or run-length codes.

    Attributes:
        column: The table's column; null if it is named as the target.
        over: The input column of images that the masks lie on; null if only one can be.
        classes: All classes, in the order of their ids: pixel values of PNG files, labels of polygons and run-length
            codes. Null takes those of the training masks, sorted (up to 5,000 masks are read).
        names: What the classes are called, in the same order as `classes`; null calls them what the masks do.
        void: The values or labels that are counted out of losses and metrics, such as borders. auto: the value 255,
            where PNG files hold two others or more.
        background: The label of pixels that lie in no polygon or run-length code.
    """

    lies_in_input: ClassVar[bool] = True
    reads_items: ClassVar[bool] = False  # sizes are read from the files, and every image is brought to one shape
    task: ClassVar[str] = "segmentation"
    type: Literal["segmentation"] = "segmentation"
    column: str | None = None
    over: str | None = None
    classes: tuple[str | int, ...] | None = None
    names: tuple[str, ...] | None = None
    void: tuple[str | int, ...] | Literal["auto"] = "auto"
    background: str = "background"

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(map(str, self.classes))) < max(2, len(self.classes)):
            raise ValueError("classes: expected two or more different ones, or null")
        if self.names is not None and len(self.names) != len(self.classes or ()):
            raise ValueError(
                f"names: found {len(self.names)}, expected one for each of classes ({len(self.classes or ())})"
            )

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)

    def with_classes(self, classes: tuple[str, ...]) -> SegmentationTargetConfig:
        return self if self.classes is not None else replace(self, classes=classes)

    def build(self, name: str) -> SegmentationProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return SegmentationProcessor(name, self)


class SegmentationProcessor(PlacedTargetProcessor):
    """Reads masks; the value is [height, width] ids of the record's type, resized as the images are."""

    part = ("mask", "masks")
    preposition = "on"

    config: SegmentationTargetConfig
    _ids: Mapping[str, int]

    # --- fitting -------------------------------------------------------------------------------------------------

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        self.require_single_items(where)
        there = [i for i, cell in enumerate(cells[0]) if cell is not None]
        shares, counts, num_read, first = Counter[str](), Counter[str](), 0, ""
        for i in self._sample(there):
            try:
                mask = self._mask(cells[0][i], table, i)
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
                continue
            num_read += 1
            for label, pixels in zip(mask.labels, np.bincount(mask.ids.ravel()).tolist(), strict=False):
                shares[label] += pixels / mask.ids.size
                counts[label] += pixels > 0
        if not num_read:
            raise ColumnError(f"{where}: no training row has a mask that can be read; first {first or 'give some'}")
        void = self._void(shares)
        labels = [str(one) for one in self.config.classes or _ordered(set(shares) - set(void), self.config.background)]
        if not 2 <= len(labels) <= _MOST_CLASSES:
            some = ", ".join(map(repr, labels[:5]))
            raise ColumnError(
                f"{where}: found {len(labels):,} classes in {num_read:,} masks ({some}), expected 2 to "
                f"{_MOST_CLASSES:,}; are they masks? If so, list the classes under data.targets.{self.name}.classes"
            )
        self._ids = dict(zip(labels, range(len(labels)), strict=True))
        self._ids |= dict.fromkeys(void, len(labels) + 1)
        total = sum(shares[label] for label in labels)
        if not total:
            raise ColumnError(f"{where}: no training mask holds one of the classes {', '.join(labels[:10])}")
        numbers = [int(label) for label in labels if label.isdecimal() and int(label) < 2**16]
        _log.info(
            "%s: %d classes in %d masks over column %r%s", where, len(labels), num_read, self._over,
            f", void: {', '.join(void)}" if void else "",
        )  # fmt: skip
        return SegmentationTarget(
            name=self.name,
            columns=self.columns,
            num_rows=len(there),
            classes=self.config.names or tuple(labels),
            class_counts=tuple(counts[label] for label in labels),
            class_shares=tuple(shares[label] / total for label in labels),
            values=tuple(numbers) if len(numbers) == len(labels) else tuple(range(len(labels))),
            over=self._over,
            size=self._places.resize().size,
        )

    @staticmethod
    def _sample(rows: Sequence[int]) -> Iterator[int]:
        return (rows[k] for k in np.sort(permutation(len(rows), "fit sample")[:_MOST_READ]))

    def _void(self, shares: Mapping[str, float]) -> tuple[str, ...]:
        """The labels that are counted out."""
        if self.config.void != "auto":
            return tuple(map(str, self.config.void))
        others = [label for label in shares if label != _USUAL_VOID]
        named = _USUAL_VOID in map(str, self.config.classes or ())
        is_void = _USUAL_VOID in shares and not named and len(others) > 1 and all(map(str.isdecimal, others))
        return (_USUAL_VOID,) if is_void else ()

    # --- reading -------------------------------------------------------------------------------------------------

    def _mask(self, cell: object, table: Table, i: int) -> Mask:
        """A cell's mask in the pixels of its image."""
        size = self.size_of_item(table, i)
        mask = read_mask(cell, table.root_of(self.columns[0]), size, self.config.background)
        if size is not None and mask.size != size:
            raise DecodeError(
                f"has {mask.size[1]} x {mask.size[0]} pixels, expected {size[1]} x {size[0]} as its image in "
                f"{self.source!r}"
            )
        return mask

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its column")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        target = SegmentationTarget.of(self.target)
        plane = self._mask(cells[0], table, i).mapped(self._ids, target.other)
        return self._places.resize().resized(plane, target.void).astype(target.dtype)

    def render(self, value: Any) -> Any:
        """A mask as class names, row by row."""
        names = np.array([*SegmentationTarget.of(self.target).classes, "", ""], dtype=object)
        return names[np.asarray(value)].tolist()

    def _state(self) -> dict[str, Any]:
        return {"ids": dict(self._ids)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._ids = dict(state["ids"])


def _ordered(labels: set[str], background: str) -> list[str]:
    """By value if all are numbers; else the background first, the others by name."""
    if all(map(str.isdecimal, labels)):
        return sorted(labels, key=int)
    return sorted(labels, key=lambda label: (label != background, label))

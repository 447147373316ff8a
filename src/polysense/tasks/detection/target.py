"""A cell as labeled boxes in the same row's image.

Boxes are kept twice: in the original image, whole, for metrics, which so give what other tools give; and in the model's
input, moved and cut as the image is resized, to learn from. Of a row whose image is missing the boxes are known all the
same, and count as missed.

A box whose label the training rows do not have can't be predicted. It counts as missed too, since leaving it out would
make a score better the less the training has seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.config.limits import Fraction
from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.placed_target import PlacedTargetProcessor, usual_boxes
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.detection.boxes import Boxes, read_boxes
from polysense.tasks.detection.record import DetectionTarget

__all__ = ["NUM_FIELDS", "DetectionProcessor", "DetectionTargetConfig", "box_records"]

_log = get_logger("polysense.data.targets")

NUM_FIELDS = 11
"""Of a box in a value: label, kind, area, 4 of the original, 4 of the input."""

_MOST_CLASSES = 10_000
_FEWEST_BOXES = 2  # of a class that is told from a mistyped one


@dataclass(frozen=True, kw_only=True)
class DetectionTargetConfig(TargetConfig):
    """Labeled boxes in an image column: {"label": ..., "box": [left, top, right, bottom]}, or COCO's "bbox".

    Attributes:
        column: The table's column; null if it is named as the target.
        over: The input column of images that the boxes lie in; null if only one can be.
        classes: All labels, in the order of their ids; null takes those of the training rows, sorted.
        written_score: Detections that are less sure are neither written into tables nor drawn; metrics count all.
    """

    lies_in_input: ClassVar[bool] = True
    reads_items: ClassVar[bool] = False  # sizes are read from the files, and every image is brought to one shape
    task: ClassVar[str] = "detection"
    type: Literal["detection"] = "detection"
    column: str | None = None
    over: str | None = None
    classes: tuple[str | int, ...] | None = None
    written_score: Fraction = 0.2

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(map(str, self.classes))) < max(1, len(self.classes)):
            raise ValueError("classes: expected one or more different ones, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)

    def with_classes(self, classes: tuple[str, ...]) -> DetectionTargetConfig:
        return self if self.classes is not None else replace(self, classes=classes)

    def build(self, name: str) -> DetectionProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return DetectionProcessor(name, self)


class DetectionProcessor(PlacedTargetProcessor):
    """Reads boxes; the value is float64 [boxes, `NUM_FIELDS`]."""

    part = ("box", "boxes")
    preposition = "in"

    config: DetectionTargetConfig
    _ids: Mapping[str, int]

    # --- fitting -------------------------------------------------------------------------------------------------

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        self.require_single_items(where)
        num_read, first, counts = 0, "", Counter[str]()
        outside: list[str] = []
        num_pixels = 0
        usual: dict[str, list[np.ndarray]] = {}
        for i, cell in enumerate(cells[0]):
            if cell is None:
                continue
            try:
                boxes = read_boxes(cell)
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
                continue
            num_read += 1
            counts.update(boxes.labels)
            size = self.size_of_item(table, i) if boxes.labels else None
            if size is None:
                continue
            fractions = boxes.corners / np.array([size[1], size[0], size[1], size[0]])
            num_pixels += int((boxes.corners > 1).any(axis=1).sum())
            for box in boxes.corners[((fractions[:, :2] >= 1) | (fractions[:, 2:] <= 0)).any(axis=1)].tolist():
                place = table.source(i, self.columns[0])
                outside.append(f"{place}: {[round(side, 2) for side in box]} beside {size[1]} x {size[0]} pixels")
            for label in dict.fromkeys(boxes.labels):
                usual.setdefault(label, []).append(fractions[[each == label for each in boxes.labels]])
        if not num_read:
            raise ColumnError(f"{where}: no training row has boxes that can be read; first {first or 'give some'}")
        if usual and not num_pixels:
            raise ColumnError(
                f"{where}: no box reaches beyond 1 pixel, so they seem to be fractions of the images' sizes; expected "
                "pixels: multiply them by the width and the height"
            )
        labels = [str(one) for one in self.config.classes or sorted(counts)]
        if not 1 <= len(labels) <= _MOST_CLASSES:
            some = ", ".join(map(repr, labels[:5])) or "none"
            raise ColumnError(
                f"{where}: found {len(labels):,} different labels in {num_read:,} rows ({some}), expected 1 to "
                f"{_MOST_CLASSES:,}; are they labels? If so, list them under data.targets.{self.name}.classes"
            )
        self._ids = dict(zip(labels, range(len(labels)), strict=True))
        rare = [label for label in labels if counts[label] < _FEWEST_BOXES]
        if rare:
            some = ", ".join(map(repr, rare[:5])) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
            self.warnings += (f"fewer than {_FEWEST_BOXES} training boxes have the label {some}",)
        if outside:
            self.warnings += (
                f"{len(outside):,} of {sum(counts.values()):,} boxes lie beside their images, where nothing can find "
                f"them; first {outside[0]}",
            )
        _log.info("%s: %d boxes of %d classes in %d rows", where, sum(counts.values()), len(labels), num_read)
        return DetectionTarget(
            name=self.name,
            columns=self.columns,
            num_rows=num_read,
            classes=tuple(labels),
            class_counts=tuple(counts[label] for label in labels),
            over=self._over,
            size=self._places.resize().size,
            written_score=self.config.written_score,
            usual_boxes=usual_boxes([usual.get(label, []) for label in labels], num_read),
        )

    # --- reading -------------------------------------------------------------------------------------------------

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its column")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        boxes, size = read_boxes(cells[0]), self.size_of_item(table, i)
        target = DetectionTarget.of(self.target)
        value = np.zeros((len(boxes), NUM_FIELDS))
        value[:, 0] = [self._ids.get(label, target.other) for label in boxes.labels]
        value[:, 1], value[:, 2], value[:, 3:7] = boxes.kinds, boxes.areas, boxes.corners
        if size is not None:
            value[:, 7:] = self._placed(boxes, size)
        return value

    def _placed(self, boxes: Boxes, size: tuple[int, int]) -> np.ndarray:
        """The boxes in the model's input; 0 where nothing of one is seen there."""
        resize = self._places.resize()
        matrix = resize.matrix(*size)
        most = np.array([resize.size[1], resize.size[0]] * 2, dtype=np.float64)
        scale, shift = np.array([matrix[0, 0], matrix[1, 1]] * 2), np.array([matrix[0, 2], matrix[1, 2]] * 2)
        corners = np.clip(boxes.corners * scale + shift, 0, most)
        there = (corners[:, 2:] > corners[:, :2]).all(axis=1, keepdims=True)
        result: np.ndarray = np.where(there, corners, 0.0)
        return result

    @property
    def class_names(self) -> Sequence[str]:
        return DetectionTarget.of(self.target).classes

    def classes_of(self, value: np.ndarray) -> Sequence[int]:
        return sorted({int(label) for label in value[:, 0] if label < len(self.class_names)})

    def render(self, value: Any) -> Any:
        """What a head predicts of a row as the training table would hold it, but in pixels of the model's input."""
        target = DetectionTarget.of(self.target)
        boxes = np.asarray(value, dtype=np.float64).reshape(-1, 6)
        return json.dumps(box_records(target, boxes[boxes[:, 5] > 0]), ensure_ascii=False)

    def _state(self) -> dict[str, Any]:
        return {"ids": dict(self._ids)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._ids = dict(state["ids"])


def box_records(target: DetectionTarget, detections: np.ndarray) -> list[dict[str, object]]:
    """Detections as cells have boxes, with a score; those that are less sure than is written left out.

    Args:
        target: What is detected.
        detections: float [detections, 6]: label, corners, score.
    """
    return [
        {
            "label": target.classes[int(label)],
            "box": [round(side, 2) for side in corners],
            "score": round(score, 4),
        }
        for label, *corners, score in detections[detections[:, 5] >= target.written_score].tolist()
    ]

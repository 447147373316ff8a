"""A cell as labeled things in the same row's image, each with a mask of its own.

Masks are kept twice: in the original image, whole, for metrics, which so give what other tools give; and in the model's
input, resized as the image is, to learn from. Both are run lengths, so that a picture of many things stays small. Of a
row whose image is missing the things are known all the same, and count as missed.

A thing whose label the training rows do not have can't be predicted. It counts as missed too, since leaving it out
would make a score better the less the training has seen.
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
from polysense.core.random import permutation
from polysense.core.schema import Target
from polysense.data.media.mask_codes import encode_counts, from_runs, run_lengths
from polysense.data.placed_target import PlacedTargetProcessor, usual_boxes
from polysense.data.tables.sources import Table
from polysense.data.target import TargetConfig
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.instance_segmentation.instances import Instance, read_instances
from polysense.tasks.instance_segmentation.record import InstanceTarget

__all__ = ["NUM_FIELDS", "InstanceProcessor", "InstanceTargetConfig", "instance_records"]

_log = get_logger("polysense.data.targets")

NUM_FIELDS = 4
"""Of a thing in a value: label, kind, area, and how many of the runs behind them are of the model's input."""

_MOST_READ = 5_000  # training cells that classes are learned from
_MOST_CLASSES = 10_000
_FEWEST = 2  # of a class that is told from a mistyped one


@dataclass(frozen=True, kw_only=True)
class InstanceTargetConfig(TargetConfig):
    """Labeled things in an image column, each with its own mask: polygons, run-length codes or a file for each.

    Attributes:
        column: The table's column; null if it is named as the target.
        over: The input column of images that the things lie in; null if only one can be.
        classes: All labels, in the order of their ids; null takes those of the training things, sorted.
        written_score: Things that are less sure are neither written into tables nor drawn; metrics count all.
    """

    lies_in_input: ClassVar[bool] = True
    reads_items: ClassVar[bool] = False  # sizes are read from the files, and every image is brought to one shape
    task: ClassVar[str] = "instance_segmentation"
    type: Literal["instance_segmentation"] = "instance_segmentation"
    column: str | None = None
    over: str | None = None
    classes: tuple[str | int, ...] | None = None
    written_score: Fraction = 0.3

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(map(str, self.classes))) < max(1, len(self.classes)):
            raise ValueError("classes: expected one or more different ones, or null")

    def sources(self, name: str) -> tuple[str, ...]:
        """The table's column that the target of that name is read from."""
        return (self.column or name,)

    def with_classes(self, classes: tuple[str, ...]) -> InstanceTargetConfig:
        return self if self.classes is not None else replace(self, classes=classes)

    def build(self, name: str) -> InstanceProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return InstanceProcessor(name, self)


class InstanceProcessor(PlacedTargetProcessor):
    """Reads things; the value is float64 [things, `NUM_FIELDS` + runs]: the runs of the input, then of the original."""

    part = ("mask", "masks")
    preposition = "in"

    config: InstanceTargetConfig
    _ids: Mapping[str, int]

    # --- fitting -------------------------------------------------------------------------------------------------

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        self.require_single_items(where)
        there = [i for i, cell in enumerate(cells[0]) if cell is not None]
        num_read, first, counts = 0, "", Counter[str]()
        boxes: dict[str, list[np.ndarray]] = {}
        for k in np.sort(permutation(len(there), "fit sample")[:_MOST_READ]):
            i = there[k]
            try:
                things = self._things(cells[0][i], table, i)
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
                continue
            num_read += 1
            counts.update(thing.label for thing in things)
            around: dict[str, list[list[float]]] = {}
            for thing in things:
                if (box := _box(thing)) is not None:
                    around.setdefault(thing.label, []).append(box)
            for label, own in around.items():
                boxes.setdefault(label, []).append(np.array(own))
        if not num_read:
            raise ColumnError(f"{where}: no training row has masks that can be read; first {first or 'give some'}")
        labels = [str(one) for one in self.config.classes or sorted(counts)]
        if not 1 <= len(labels) <= _MOST_CLASSES:
            some = ", ".join(map(repr, labels[:5])) or "none"
            raise ColumnError(
                f"{where}: found {len(labels):,} different labels in {num_read:,} rows ({some}), expected 1 to "
                f"{_MOST_CLASSES:,}; are they labels? If so, list them under data.targets.{self.name}.classes"
            )
        self._ids = dict(zip(labels, range(len(labels)), strict=True))
        rare = [label for label in labels if counts[label] < _FEWEST]
        if rare:
            some = ", ".join(map(repr, rare[:5])) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
            self.warnings += (f"fewer than {_FEWEST} training masks have the label {some}",)
        _log.info("%s: %d masks of %d classes in %d rows", where, sum(counts.values()), len(labels), num_read)
        return InstanceTarget(
            name=self.name,
            columns=self.columns,
            num_rows=len(there),
            classes=tuple(labels),
            class_counts=tuple(counts[label] for label in labels),
            over=self._over,
            size=self._places.resize().size,
            written_score=self.config.written_score,
            usual_boxes=usual_boxes([boxes.get(label, []) for label in labels], num_read),
        )

    # --- reading -------------------------------------------------------------------------------------------------

    def _things(self, cell: object, table: Table, i: int) -> list[Instance]:
        return read_instances(cell, table.root_of(self.columns[0]), self.size_of_item(table, i))

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its column")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        things = self._things(cells[0], table, i)
        target, is_there = InstanceTarget.of(self.target), self.size_of_item(table, i) is not None
        seen = [self._in_input(thing) if is_there else np.zeros(0, dtype=np.int64) for thing in things]
        most = max(map(len, seen), default=0)
        value = np.zeros((len(things), NUM_FIELDS + most + max((len(thing.runs) for thing in things), default=0)))
        for row, (thing, runs) in enumerate(zip(things, seen, strict=True)):
            value[row, :NUM_FIELDS] = self._ids.get(thing.label, target.other), thing.kind, thing.area, most
            value[row, NUM_FIELDS : NUM_FIELDS + len(runs)] = runs
            start = NUM_FIELDS + most
            value[row, start : start + len(thing.runs)] = thing.runs
        return value

    def _in_input(self, thing: Instance) -> np.ndarray:
        """Its runs in the model's input."""
        plane = from_runs(thing.runs, thing.size).astype(np.uint8)
        return run_lengths(self._places.resize().resized(plane, 0) > 0)

    @property
    def class_names(self) -> Sequence[str]:
        return InstanceTarget.of(self.target).classes

    def classes_of(self, value: np.ndarray) -> Sequence[int]:
        return sorted({int(label) for label in value[:, 0] if label < len(self.class_names)})

    def render(self, value: Any) -> Any:
        """The labels and scores of what a head predicts of a row, as JSON; masks stand in the predictions' table."""
        target = InstanceTarget.of(self.target)
        things = np.asarray(value, dtype=np.float64).reshape(-1, 2)
        records = [
            {"label": target.classes[int(label)], "score": round(score, 4)} for label, score in things if score > 0
        ]
        return json.dumps(records, ensure_ascii=False)

    def _state(self) -> dict[str, Any]:
        return {"ids": dict(self._ids)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._ids = dict(state["ids"])


def instance_records(
    target: InstanceTarget, detections: np.ndarray, masks: Sequence[np.ndarray], size: tuple[int, int]
) -> list[dict[str, object]]:
    """Predicted things as cells have them, with a score; those that are less sure than is written left out.

    Args:
        target: What is predicted.
        detections: float [detections, 3]: label, score, area.
        masks: Their runs in the original image.
        size: Its (height, width).
    """
    return [
        {"label": target.classes[int(label)], "score": round(score, 4), "rle": encode_counts(runs, size)}
        for (label, score, _), runs in zip(detections.tolist(), masks, strict=True)
        if score >= target.written_score
    ]


def _box(thing: Instance) -> list[float] | None:
    """The box around a thing, as fractions of the image; None where it has no pixel."""
    inside = from_runs(thing.runs, thing.size)
    columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return None
    height, width = thing.size
    corners = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
    return [float(side) for side in corners]

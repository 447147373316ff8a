"""A cell as labeled segments of one input column: names in a text, events in an audio clip, a label for each step.

Two spellings are read. A list of segments, {"start", "end", "label"} or [start, end, label], in characters of a text or
seconds of an audio clip; and a list of labels, one for each word of a text or spread evenly over an audio clip, plain
or with the prefixes of BIO, BILOU and IOBES. Both become segments of the column's steps (tokens, samples), so the same
annotation in either spelling trains the same model, and a prediction comes back in the spelling that the table had.

No segment at all is an answer: "nothing here" is learned from. A row without an answer is one whose cell is empty.
Segments may touch, not overlap: each step has one class at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.registry import modalities, modality
from polysense.core.schema import Target
from polysense.core.segment_aligner import SegmentAligner
from polysense.core.unsupported import Unsupported
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table
from polysense.data.target import ColumnTargetConfig, TargetProcessor
from polysense.data.values.category_key import unified, unified_note
from polysense.data.values.classes import Classes
from polysense.errors import ColumnError, DecodeError
from polysense.tasks.tagging.labeled import Labeled, read_labeled
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.segments import has_prefixes, segments_of_tags

__all__ = ["TaggingProcessor", "TaggingTargetConfig"]

_log = get_logger("polysense.data.targets")

_MEASURED_ROWS = 2_000  # rows whose lengths the classes' shares are taken from


@dataclass(frozen=True, kw_only=True)
class TaggingTargetConfig(ColumnTargetConfig):
    """Labeled segments of an input column: named entities in a text, events in audio, a label for each word or step.

    Attributes:
        over: The input column that the segments lie in; null if only one can be.
        labels: How lists of labels are read: "plain" as they stand, "bio" or "bilou" (IOBES too) with prefixes that
            mark where segments begin; auto takes prefixes where all labels of the training rows have them.
        outside: The label outside all segments, in addition to the empty one.
        classes: All classes, without prefixes, in the order of their ids; null takes those of the training rows,
            sorted.
    """

    lies_in_input: ClassVar[bool] = True
    task: ClassVar[str] = "tagging"
    type: Literal["tagging"] = "tagging"
    over: str | None = None
    labels: Literal["auto", "plain", "bio", "bilou"] = "auto"
    outside: str = "O"
    classes: tuple[str | int | float | bool, ...] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and not self.classes:
            raise ValueError("classes: expected at least one, or null")

    def with_classes(self, classes: tuple[str, ...]) -> TaggingTargetConfig:
        return self if self.classes is not None else replace(self, classes=classes)

    def build(self, name: str) -> TaggingProcessor:
        """The preprocessing of the target of that name, not yet fitted."""
        return TaggingProcessor(name, self)


class TaggingProcessor(TargetProcessor):
    """Reads segments; the value is float32 [1 + segments, 3], see `core.batch.ValueTruth`.

    Attributes:
        num_unread: Segments in what was read so far in this process that lie beyond where their text was cut, or share
            their only token with another one; they are not learned from.
    """

    config: TaggingTargetConfig
    _classes: Classes
    _writes_labels: bool
    _prefixes: bool
    _seconds_per_label: float

    def __init__(self, name: str, config: TaggingTargetConfig) -> None:
        super().__init__(name, config)
        self.num_unread = 0
        self._over = ""
        self._column: ColumnProcessor | None = None

    @property
    def over(self) -> str:
        """The input column that the segments lie in."""
        return self._over

    def attach(self, columns: Mapping[str, ColumnProcessor]) -> None:
        """Settles which column the segments lie in; see the base."""
        requested, where = self.config.over, f"target {self.name!r}"
        if requested is None:
            result = [name for name, column in columns.items() if column.config.modality in _bearing()]
            if len(result) != 1:
                several = f"it may be {' or '.join(map(repr, result))}" if result else f"none is {_expected()}"
                raise ColumnError(f"{where}: which input column do its segments lie in? {several}; say so with `over`")
            requested = result[0]
        if requested not in columns:
            raise ColumnError(f"{where}: over names {requested!r}, which is no input column ({', '.join(columns)})")
        answer = modality(columns[requested].config.modality).aligner
        if isinstance(answer, Unsupported):
            raise ColumnError(
                f"{where}: segments can't lie in {requested!r}, a column of type {columns[requested].config.type}: "
                f"{answer}; expected {_expected()}"
            )
        self._over, self._column = requested, columns[requested]

    # --- fitting -------------------------------------------------------------------------------------------------

    def _fit(self, table: Table, cells: Sequence[Sequence[object]]) -> Target:
        where = f"{table.name}, target column {self.columns[0]!r}"
        assert self._column is not None
        if self._column.column.multiple:
            raise ColumnError(
                f"{where}: column {self._over!r} holds lists of several items, and segments lie in one; if they are "
                f"the words of one text, set data.columns.{self._over}.words to true"
            )
        read: dict[int, Labeled] = {}
        first = None
        for i, cell in enumerate(cells[0]):
            try:
                result = read_labeled(cell)
            except DecodeError as error:
                first = first or f"{table.source(i, self.columns[0])}: {error}"
                continue
            if result is not None:
                read[i] = result
        lists = [one.labels for one in read.values() if one.labels]
        self._writes_labels = 2 * len(lists) > sum(1 for one in read.values() if one.labels or one.segments)
        spelled = [str(label) for labels in lists for label in labels if not self._is_outside(label)]
        self._prefixes = self.config.labels in ("bio", "bilou") or (
            self.config.labels == "auto" and has_prefixes(spelled)
        )
        labels = [label for one in read.values() for label in self._labels(one)]
        note = unified_note(labels)
        self.warnings = () if note is None else (note,)
        self._classes, counts = Classes.learn(where, self.name, labels, self.config.classes, first)
        self._seconds_per_label = 0.0
        shares, placed, reason = self._measure(table, read)
        timed = self._column.column.rate is not None
        if not placed:
            reason = reason or first or "give some labels"
            raise ColumnError(f"{where}: no training row has labels that lie in column {self._over!r}; first {reason}")
        _log.info(
            "%s: %d segments of %d classes in %d rows, over column %r; %.1f%% of its length is in one",
            where, sum(counts), len(counts), len(read), self._over, 100 * sum(shares),
        )  # fmt: skip
        return TaggingTarget(
            name=self.name,
            columns=self.columns,
            classes=self._classes.names,
            class_counts=counts,
            num_rows=len(read),
            over=self._over,
            boundaries=self._prefixes or (not timed and not self._writes_labels),
            class_lengths=shares,
            units_per_second=float(self._column.column.rate or 0.0),
        )

    def _labels(self, labels: Labeled) -> list[object]:
        """The label of each segment of a cell, wherever it lies."""
        if labels.labels is None:
            return [label for _, _, label in labels.segments]
        positions = [(float(i), i + 1.0) for i in range(len(labels.labels))]
        return [label for _, _, label in self._joined(labels.labels, positions)]

    def _measure(self, table: Table, read: Mapping[int, Labeled]) -> tuple[tuple[float, ...], int, str | None]:
        """Each class's share of the length of some rows, how many of them could be placed, and why the first of the
        others could not."""
        totals, whole, placed = np.zeros(len(self._classes.names)), 0.0, 0
        per_label, reason = [], None
        rows = list(read)
        for i in [rows[k] for k in np.sort(permutation(len(rows), "fit sample")[:_MEASURED_ROWS])]:
            try:
                aligner = self._aligner(table, i)
                if aligner is None:
                    reason = reason or f"{table.source(i, self._over)}: is empty"
                    continue
                records = self._records(read[i], aligner)
            except DecodeError as error:
                reason = reason or f"{table.source(i, self.columns[0])}: {error}"
                continue
            labels = read[i].labels
            if labels and aligner.words is None:
                per_label.append(aligner.extent / len(labels))
            for start, end, position in records[1:]:
                totals[int(position)] += end - start
            whole, placed = whole + aligner.length, placed + 1
        if per_label:
            self._seconds_per_label = float(np.median(per_label))
        self.num_unread = 0
        return tuple((totals / max(whole, 1.0)).tolist()), placed, reason

    # --- reading -------------------------------------------------------------------------------------------------

    def _value(self, cells: list[object]) -> np.ndarray | None:
        raise AssertionError(f"target {self.name!r} is read with its column")

    def _located(self, cells: list[object], table: Table, i: int, items: Sequence[np.ndarray]) -> np.ndarray | None:
        result = read_labeled(cells[0])
        if result is None:
            return None
        if not len(items):
            assert self._column is not None
            there = table.has(self._column.source) and table.cell(i, self._column.source) is not None
            what = "can't be read" if there else "is empty"
            raise DecodeError(f"found labels, but the cell of {self._over!r} that they lie in {what}")
        aligner = self._aligner(table, i, items)
        assert aligner is not None
        return self._records(result, aligner)

    def _aligner(
        self, table: Table, i: int, items: Sequence[np.ndarray] = (), length: int | None = None
    ) -> SegmentAligner | None:
        assert self._column is not None
        source = self._column.source
        cell = table.cell(i, source) if table.has(source) else None
        align = modality(self._column.config.modality).aligner
        assert not isinstance(align, Unsupported), "`attach` refuses such a column"
        return None if cell is None else align(self._column, cell, table.root_of(source), items, length)

    def _records(self, labels: Labeled, aligner: SegmentAligner) -> np.ndarray:
        """A cell's segments in steps, the whole column first."""
        segments = labels.segments
        if labels.labels is not None:
            segments = self._joined(labels.labels, aligner.positions(len(labels.labels))) if labels.labels else []
            if not labels.labels and self._is_fitted_on_words and aligner.length:
                aligner.positions(0)
        records: list[tuple[float, float, float]] = [(0.0, float(aligner.length), -1.0)]
        last: tuple[float, float, object] | None = None
        for start, end, label in sorted(segments, key=lambda segment: segment[:2]):
            self._check(start, end, last, aligner)
            last = (start, end, label)
            position = self._classes.find(label)
            steps = aligner.steps(start, min(end, aligner.extent))
            if steps is not None and len(records) > 1 and steps[0] < records[-1][1]:  # they share a token
                steps = (records[-1][1], steps[1]) if steps[1] > records[-1][1] else None
            if steps is None:
                self.num_unread += 1
                if self.num_unread == 1:
                    _log.warning(
                        "target %r: a segment lies beyond where its text is cut, or within a token of another one, and "
                        "is not learned from; further ones are counted only", self.name,
                    )  # fmt: skip
                continue
            records.append((*steps, float(position)))
        return np.array(records, dtype=np.float32)

    @property
    def _is_fitted_on_words(self) -> bool:
        return self._writes_labels and not self._seconds_per_label

    def _check(
        self, start: float, end: float, last: tuple[float, float, object] | None, aligner: SegmentAligner
    ) -> None:
        if not end > start:
            raise DecodeError(f"found a segment from {start:g} to {end:g}, expected its end after its start")
        if start < 0 or end > aligner.extent + aligner.slack or start >= aligner.extent:
            raise DecodeError(
                f"found a segment from {start:g} to {end:g}, expected it within 0 to {aligner.extent:g} {aligner.unit}"
            )
        if last is not None and start < last[1] - 1e-6:
            raise DecodeError(
                f"found segments that overlap, {last[0]:g} to {last[1]:g} ({last[2]}) and {start:g} to {end:g}; "
                f"expected one class at most in each place"
            )

    def _joined(
        self, labels: Sequence[object], positions: Sequence[tuple[float, float]]
    ) -> list[tuple[float, float, object]]:
        """Labels one by one as segments of the table's terms."""
        labels = [unified(label) if isinstance(label, str) else label for label in labels]
        if self._prefixes:
            tags = ["O" if self._is_outside(label) else str(label).strip() for label in labels]
            wrong = next((tag for tag in tags if tag != "O" and not (tag[1:2] in ("-", "_") and len(tag) > 2)), None)
            if wrong is not None:
                raise DecodeError(f"found the label {wrong!r}, expected a prefix, such as B-{wrong} or I-{wrong}")
            return [(positions[a][0], positions[b - 1][1], name) for a, b, name in segments_of_tags(tags)]
        results: list[tuple[float, float, object]] = []
        run = 0
        for i, label in enumerate(labels):
            if self._is_outside(label):
                continue
            if run and results and labels[i - 1] == label:
                results[-1] = (results[-1][0], positions[i][1], label)
            else:
                results.append((*positions[i], label))
            run = 1
        return results

    def _is_outside(self, label: object) -> bool:
        return label is None or str(label).strip() in ("", self.config.outside)

    # --- writing -------------------------------------------------------------------------------------------------

    def render(self, value: Any) -> list[dict[str, Any]]:
        """Predicted segments in steps; `render_row` gives them in the table's terms."""
        return [
            {"start": float(start), "end": float(end), "label": self._label(int(position)), "score": float(p)}
            for start, end, position, p in np.asarray(value)[1:]
            if position >= 0
        ]

    def render_row(self, value: np.ndarray, table: Table, i: int) -> tuple[list[Any], list[float | None]] | None:
        """A row's prediction as its table would hold it; None where the column that it lies in is absent.

        Args:
            value: float [1 + segments, 4], see `TaggingHead.predict`.
            table: Where the row is from.
            i: Its position there.

        Returns:
            Segments, or labels, and the probability of each; None for a label that is outside.
        """
        length = int(value[0, 1])
        if length <= 0:
            return None
        aligner = self._aligner(table, i, length=length)
        assert aligner is not None
        segments = self.render(value)
        if self._writes_labels:
            return self._as_labels(segments, aligner)
        scores: list[float | None] = [round(one["score"], 4) for one in segments]
        results = []
        for one, score in zip(segments, scores, strict=True):
            terms = aligner.terms(one["start"], one["end"])._asdict()
            known = {name: value for name, value in terms.items() if value is not None}
            results.append({**known, "label": one["label"], "score": score})
        return results, scores

    def located(
        self, value: np.ndarray, table: Table, i: int
    ) -> tuple[str | None, list[tuple[float, float, str]]] | None:
        """The text that a row's segments lie in (None: they are seconds of an audio clip), and (start, end, class) of
        each.

        Arguments as in `render_row`, which spells the same as the table does.
        """
        if int(value[0, 1]) <= 0:
            return None
        aligner = self._aligner(table, i, length=int(value[0, 1]))
        assert aligner is not None
        terms = [(aligner.terms(one["start"], one["end"]), str(one["label"])) for one in self.render(value)]
        return aligner.text, [(float(place.start), float(place.end), label) for place, label in terms]

    @property
    def renders_text(self) -> bool:
        """Whether labels are texts; else integers."""
        return self._writes_labels or self._classes.kind != "int"

    @property
    def writes_labels(self) -> bool:
        """Whether a prediction is a list of labels, as the training table's cells were."""
        return self._writes_labels

    def _label(self, position: int) -> int | str:
        result = self._classes.render(position)
        return result if type(result) is int else str(result)

    def _as_labels(
        self, segments: Sequence[Mapping[str, Any]], aligner: SegmentAligner
    ) -> tuple[list[str], list[float | None]]:
        """One label for each word or frame: that of the segment which covers most of it."""
        positions: Sequence[tuple[float, float]]
        if aligner.words is None:
            positions = aligner.positions(max(1, round(aligner.extent / max(self._seconds_per_label, 1e-6))))
        else:
            positions = aligner.words
        labels = [self.config.outside] * len(positions)
        owners = [-1] * len(positions)
        spans = [aligner.terms(one["start"], one["end"]) for one in segments]
        for w, (start, end) in enumerate(positions):
            inside = [min(end, span.end) - max(start, span.start) for span in spans]
            if inside and 2 * max(inside) >= end - start and max(inside) > 0:
                owners[w] = int(np.argmax(inside))
                labels[w] = str(segments[owners[w]]["label"])
        scores = [None if owner < 0 else round(segments[owner]["score"], 4) for owner in owners]
        if self._prefixes:
            labels = [
                label if owner < 0 else f"{'I' if w and owners[w - 1] == owner else 'B'}-{label}"
                for w, (label, owner) in enumerate(zip(labels, owners, strict=True))
            ]
        return labels, scores

    def _state(self) -> dict[str, Any]:
        return {
            "kind": self._classes.kind,
            "writes_labels": self._writes_labels,
            "prefixes": self._prefixes,
            "seconds_per_label": self._seconds_per_label,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._classes = Classes(self.target.classes, state["kind"])
        self._writes_labels, self._prefixes = state["writes_labels"], state["prefixes"]
        self._seconds_per_label = state["seconds_per_label"]


def _bearing() -> list[str]:
    """The modalities that segments can lie in."""
    return [name for name, spec in modalities().items() if not isinstance(spec.aligner, Unsupported)]


def _expected() -> str:
    return " or ".join(_bearing())

"""Examine a table for its check: one pass over some of its rows, in which every cell is decoded once.

From the items of a cell come what could not be read, the signature that near copies share, the numbers that describe
it, and a feature vector without trained weights. Rows are spread evenly over the table; the wider it is, the fewer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from polysense.core.preview import CellPreview
from polysense.core.registry import modality, task
from polysense.core.sample import Sample, Unreadable
from polysense.core.schema import Column
from polysense.core.task_spec import Answer
from polysense.core.unsupported import Unsupported
from polysense.data.config import DataConfig
from polysense.data.features import CellFeatures
from polysense.data.joins.result import JoinResult
from polysense.data.media.media import locate
from polysense.data.processor import Processor
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.persons import person_columns
from polysense.data.roles.profile import Cause, ColumnGuess, read_numbers
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import ColumnError, DecodeError, PolysenseError
from polysense.evaluation.findings.checked import CheckedColumn, CheckedTable, CheckedTarget, ColumnRead
from polysense.presets.features import features_of
from polysense.reports.previews import preview_cell
from polysense.workflows.check.cleanings import cleaning_proposals
from polysense.workflows.check.columns import codes_of, light_column

__all__ = ["ALL", "Part", "examine", "examine_inputs"]

ALL = "all"
"""The name of the only part of a table that is not split."""

MOST_ROWS = 100_000
"""Rows that are looked at; of more a sample is."""

_MOST_TRIED, _FEWEST_TRIED = 2_000, 30
_MOST_CELLS = 60_000  # decoded; of a wide table fewer rows are
_FIRST = 200  # cells that features are fitted on
_FORMAT = "the file's format"
_FEWEST_FOR_FEATURES = 100  # rows tried; with fewer, vectors are not compared


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """Rows that a split puts together.

    Attributes:
        name: "train", "validation", "test" or `ALL`.
        table: The rows.
        owner: The name of the table where it is one of its own; None where the rows are the checked table's.
    """

    name: str
    table: Table
    owner: str | None = None


@dataclass(eq=False, kw_only=True)
class _Reading:
    """What is gathered of one column."""

    column: Column
    features: CellFeatures | None = None
    positions: list[int] = field(default_factory=list)
    signatures: list[np.ndarray | None] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    waiting: list[tuple[object, Sequence[np.ndarray]]] = field(default_factory=list)
    numbers: dict[str, dict[int, float]] = field(default_factory=dict)
    kinds: dict[str, dict[int, str]] = field(default_factory=dict)
    is_fitted: bool = False
    examples: list[CellPreview] = field(default_factory=list)


def examine_inputs(
    name: str,
    parts: Sequence[Part],
    guesses: Sequence[ColumnGuess],
    *,
    joins: Mapping[str, JoinResult] | None = None,
    seed: int = 0,
) -> CheckedTable:
    """A table of which nothing is fitted: what costs no decoding to know.

    Args:
        name: The table's.
        parts: Its rows.
        guesses: What each column is.
        joins: What was joined to it.
        seed: Of every draw.
    """
    parts = _bounded(parts)
    tables = [part.table for part in parts]
    inputs = [(each.name, each.column or each.name, each.modality) for each in guesses if each.modality is not None]
    used = [(own, source, kind) for own, source, kind in inputs if any(table.has(source) for table in tables)]
    roles = {guess.name: guess for guess in guesses}
    columns = [light_column(tables, own, source, kind) for own, source, kind in used if roles[own].role == "input"]
    return CheckedTable(
        name=name,
        parts=tuple(part.name for part in parts),
        part_of=np.repeat(np.arange(len(parts)), [len(table) for table in tables]),
        row_numbers=np.concatenate([table.rows for table in tables]),
        tables=tuple(part.owner for part in parts),
        is_drawn=True,
        guesses=guesses,
        columns=columns,
        joins=tuple((joins or {}).values()),
        seed=seed,
    )


def examine(
    whole: Table,
    parts: Sequence[Part],
    guesses: Sequence[ColumnGuess],
    config: DataConfig,
    processor: Processor,
    *,
    is_drawn: bool,
    seed: int,
    num_examples: int = 0,
) -> CheckedTable:
    """A table whose preprocessing is fitted.

    Args:
        whole: The table before it was split.
        parts: Its rows.
        guesses: What each column is.
        config: What is read of it.
        processor: Fitted.
        is_drawn: Whether the parts were drawn at random, row by row.
        seed: Of every draw.
        num_examples: Cells of each column that are kept to be shown.
    """
    parts = _bounded(parts)
    tables = [part.table for part in parts]
    ends = np.cumsum([0, *(len(table) for table in tables)])
    total = int(ends[-1])
    columns = {
        own: light_column(tables, own, column.source, column.config.modality)
        for own, column in processor.columns.items()
    }
    num_tried = min(total, max(_FEWEST_TRIED, min(_MOST_TRIED, _MOST_CELLS // max(1, len(columns)))))
    tried = np.unique(np.linspace(0, max(total - 1, 0), num_tried).astype(int))
    readings = _readings(processor, num_tried, total)
    shown = set(tried[:: max(1, len(tried) // max(1, num_examples))][:num_examples].tolist())
    unreadable: list[Unreadable] = []
    for k, table in enumerate(tables):
        prepared = processor.prepared(table)
        for position in tried[(tried >= ends[k]) & (tried < ends[k + 1])].tolist():
            sample = processor.transform(prepared, position - int(ends[k]), with_targets=True)
            unreadable += sample.unreadable
            for own, reading in readings.items():
                if position in shown:
                    reading.examples.append(preview_cell(reading.column, prepared, position - int(ends[k]), sample))
                if sample.values.get(own):
                    _read(reading, prepared, position - int(ends[k]), position, sample, own)
    for reading in readings.values():
        _fit(reading)
    answers = {column for own, target in config.targets.items() for column in target.sources(own)}
    return CheckedTable(
        name=whole.name,
        parts=tuple(part.name for part in parts),
        part_of=np.repeat(np.arange(len(parts)), [len(table) for table in tables]),
        row_numbers=np.concatenate([table.rows for table in tables]),
        tables=tuple(part.owner for part in parts),
        is_drawn=is_drawn,
        guesses=guesses,
        groups=_groups(tables, guesses, answers),
        clusters=None if config.split.grouping is None else codes_of(tables, config.split.grouping),
        columns=[_with_reading(column, readings.get(own), total) for own, column in columns.items()],
        targets=[
            _target(_of_all_rows(target, config, whole), tables)
            for target in processor.targets.values()
            if target.target.columns
        ],
        unreadable=unreadable,
        num_tried=len(tried),
        joins=tuple(whole.joins.values()),
        proposals=cleaning_proposals(tables, processor, config),
        seed=seed,
    )


def _bounded(parts: Sequence[Part]) -> list[Part]:
    """The same parts with so many rows in all as are looked at, in proportion."""
    total = sum(len(part.table) for part in parts)
    if total <= MOST_ROWS:
        return list(parts)
    share = MOST_ROWS / total
    result = []
    for part in parts:
        num = max(1, round(share * len(part.table)))
        chosen = np.unique(np.linspace(0, len(part.table) - 1, num).astype(int))
        result.append(replace(part, table=part.table.select(chosen)))
    return result


def _readings(processor: Processor, num_tried: int, total: int) -> dict[str, _Reading]:
    """The columns of which more is read than values."""
    inputs = [(own, column.config.modality) for own, column in processor.columns.items()]
    configs = features_of(inputs, total) if num_tried >= _FEWEST_FOR_FEATURES else {}
    result = {}
    for own, column in processor.columns.items():
        reading = _Reading(column=column.column)
        if own in configs:
            reading.features = CellFeatures(configs[own], column.column)
        result[own] = reading
    return result


def _read(reading: _Reading, table: Table, i: int, position: int, sample: Sample, own: str) -> None:
    """Takes what is to be known of one cell."""
    column, items = reading.column, sample.values[own]
    cell = table.cell(i, column.table_column)
    spec = modality(column.modality)
    reading.positions.append(position)
    if not isinstance(spec.likeness, Unsupported):
        reading.signatures.append(spec.likeness.signature(column, cell, items))
    if not (spec.is_numeric or spec.is_discrete) and not isinstance(spec.descriptors, Unsupported):
        for descriptor in spec.descriptors:
            reading.numbers.setdefault(descriptor.name, {})[position] = descriptor.measure(column, cell, items)
    if not isinstance(spec.categories, Unsupported):
        for category in spec.categories:
            if (told := category.tell(cell)) is not None:
                reading.kinds.setdefault(category.name, {})[position] = told
    if spec.is_file and not isinstance(cell, list):
        with contextlib.suppress(DecodeError):
            media = locate(cell, table.root_of(column.table_column), spec.name)
            reading.numbers.setdefault("file size", {})[position] = float(media.num_bytes)
            reading.kinds.setdefault(_FORMAT, {})[position] = media.suffix or "no ending"
    if own in sample.placements:
        height, width = sample.placements[own].size
        reading.numbers.setdefault("height", {})[position] = float(height)
        reading.numbers.setdefault("width", {})[position] = float(width)
    if reading.features is not None:
        if reading.is_fitted:
            reading.vectors.append(reading.features.extract(cell, items))
        else:
            reading.waiting.append((cell, items))
            if len(reading.waiting) >= _FIRST:
                _fit(reading)


def _fit(reading: _Reading) -> None:
    """Fits features on the first cells, and makes the vectors of these."""
    if reading.is_fitted or reading.features is None:
        return
    reading.is_fitted = True
    try:
        reading.features.fit([cell for cell, _ in reading.waiting], reading.waiting)
        reading.vectors += [reading.features.extract(cell, items) for cell, items in reading.waiting]
    except ColumnError:  # no cell holds anything
        reading.features = None
    reading.waiting = []


def _with_reading(column: CheckedColumn, reading: _Reading | None, total: int) -> CheckedColumn:
    if reading is None or not reading.positions:
        return column if reading is None else replace(column, examples=reading.examples)
    positions = np.array(reading.positions, dtype=np.int64)
    signatures = None
    is_distinct = column.is_distinct
    if reading.signatures:
        size = next((len(each) for each in reading.signatures if each is not None), 1)
        signatures = np.zeros((len(positions), size), dtype=np.int8)
        for row, each in zip(signatures, reading.signatures, strict=True):
            if each is not None:
                row[:] = each
        is_distinct = is_distinct.copy()
        is_distinct[positions] = signatures.any(axis=1)
    numbers = dict(column.numbers)
    for words, known in reading.numbers.items():
        values = np.full(total, np.nan)
        values[list(known)] = list(known.values())
        numbers[words] = values
    properties = {}
    for words, told in reading.kinds.items():
        names = sorted(set(told.values()))
        codes = np.full(total, -1, dtype=np.int64)
        codes[list(told)] = [names.index(kind) for kind in told.values()]
        properties[words] = (codes, names)
    features = np.stack(reading.vectors) if reading.features is not None and reading.vectors else None
    return replace(
        column,
        is_distinct=is_distinct,
        numbers=numbers,
        properties=properties,
        read=ColumnRead(positions=positions, signatures=signatures, features=features),
        examples=reading.examples,
    )


def _groups(tables: Sequence[Table], guesses: Sequence[ColumnGuess], answers: set[str]) -> Mapping[str, np.ndarray]:
    """Columns whose values name what belongs together: persons, and identifiers that recur."""
    first = tables[0]
    named = [guess.name for guess in guesses if guess.cause is Cause.IDENTIFIER and first.has(guess.name)]
    result = {}
    for column in dict.fromkeys([*person_columns(first, answers), *named]):
        codes = codes_of(tables, column)
        known = codes[codes >= 0]
        if len(known) and len(np.unique(known)) < len(known):
            result[column] = codes
    return result


def _of_all_rows(target: TargetProcessor, config: DataConfig, whole: Table) -> TargetProcessor:
    """A target with the classes of all rows; preprocessing knows those of the training rows alone."""
    if not task(target.target.task).has_classes:
        return target
    fitted = config.target_processor(target.name)
    try:
        fitted.fit(whole)
    except PolysenseError:
        return target
    return fitted


def _target(target: TargetProcessor, tables: Sequence[Table]) -> CheckedTarget:
    record = target.target
    spec = task(record.task)
    total = sum(len(table) for table in tables)
    labels = np.full(total, -1, dtype=np.int64)
    keys, values = labels, None
    classes: tuple[str, ...] = ()
    if spec.has_classes:
        classes = record.classes
        i = 0
        for table in tables:
            for row in range(len(table)):
                with contextlib.suppress(DecodeError):  # it is listed where its row is tried
                    value = target.transform(table, row)
                    labels[i] = -1 if value is None else int(value)
                i += 1
        keys = labels
    elif spec.answer is Answer.NUMBER and len(record.columns) == 1:
        name = record.columns[0]
        values = np.concatenate(
            [
                read_numbers(table, cleaned(table, name, literal=True))
                if table.has(name)
                else np.full(len(table), np.nan)
                for table in tables
            ]
        )
        known = np.isfinite(values)
        keys = np.where(known, np.unique(values, return_inverse=True)[1], -1)
    return CheckedTarget(
        name=record.name,
        columns=tuple(record.columns),
        answer=spec.answer,
        classes=classes,
        labels=labels,
        values=values,
        keys=keys,
    )

"""Processor: all preprocessing of one model, fitted once, the same object in training, evaluation and serving.

A cell that can't be read becomes missing and is listed with its reason; it never ends a run and never touches another
row. A column that a table lacks is missing in all its rows, one that the model does not know is left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, overload

import polars as pl

from polysense.core.json import read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.registry import modality, task
from polysense.core.sample import Sample, Unreadable
from polysense.core.schema import Requirements, Schema
from polysense.core.spelling import did_you_mean
from polysense.core.unsupported import Unsupported
from polysense.data.augmentation.base import TransformConfig
from polysense.data.column import ColumnProcessor
from polysense.data.column_fingerprint import decoding_fingerprint
from polysense.data.config import DataConfig
from polysense.data.features import FeatureConfig
from polysense.data.imputation import TableImputer
from polysense.data.media.time_limit import within_limit
from polysense.data.store.cell_keys import CellKeys
from polysense.data.store.prepared import PreparedColumn, PreparedStore
from polysense.data.store.stored_column import StoredColumn
from polysense.data.tables.sources import CellImputer, Table
from polysense.data.target import TargetProcessor
from polysense.data.training_cells import NUM_FOR_FEATURES
from polysense.data.values.notation import Notation, NotationEvidence
from polysense.errors import BundleError, ColumnError, DecodeError, TableError

__all__ = ["Processor", "named_file"]

_log = get_logger("polysense.data.processor")

T = TypeVar("T")
_MAX_LISTED = 20  # columns that a message lists
_VERSION = 8
_FILE = "processor.json"


class Processor:
    """Turns a table's rows into samples.

    Attributes:
        columns: The fitted preprocessing of each input column.
        targets: Likewise of each target.
        weight: The column that holds the rows' weights, if there is one.
        weight_warnings: What of the training rows' weights may be read otherwise than it was meant. Not saved.
        imputer: What imputes missing cells first, if anything does; a model is not saved here.
        schema: What the encoders and heads are built from.
    """

    def __init__(
        self,
        columns: Mapping[str, ColumnProcessor],
        targets: Mapping[str, TargetProcessor],
        weight: str | None = None,
        weight_notation: Notation | None = None,
        imputer: CellImputer | None = None,
    ) -> None:
        self.columns = dict(columns)
        self.targets = dict(targets)
        self.weight = weight
        self._weight_notation = weight_notation or Notation()
        self.weight_warnings: tuple[str, ...] = ()
        self.imputer = imputer
        for target in self.targets.values():
            target.attach(self.columns)
        self.schema = Schema(
            columns=tuple(column.column for column in self.columns.values()),
            targets=tuple(target.target for target in self.targets.values()),
        )
        self._reported: set[tuple[str, str]] = set()

    @staticmethod
    def fit(
        table: Table,
        config: DataConfig,
        requirements: Mapping[str, Requirements] | None = None,
        target_requirements: Mapping[str, Requirements] | None = None,
        fitted_columns: Mapping[str, ColumnProcessor] | None = None,
        fitted_targets: Mapping[str, TargetProcessor] | None = None,
        imputer: CellImputer | None = None,
        most_for_features: int = NUM_FOR_FEATURES,
    ) -> Processor:
        """Learns all preprocessing from the training rows.

        Args:
            table: The training split.
            config: Which columns and targets there are.
            requirements: What pretrained encoders ask of their columns, by column.
            target_requirements: What pretrained heads ask of their targets, by target.
            fitted_columns: Columns whose preprocessing was fitted before and learns nothing here: what an encoder that
                comes from another model was trained with.
            fitted_targets: Likewise targets.
            imputer: What imputes missing cells first; what is learned is learned from the imputed table.
            most_for_features: Cells of a column that its feature vectors are learned from, at most.

        Raises:
            TableError: The table lacks a column.
            ColumnError: A column or target can't serve as what it is named for.
        """
        if not config.columns:
            raise ColumnError(f"{table.name}: there is no input column; name at least one under data.columns")
        if not len(table):
            raise ColumnError(f"{table.name}: there are no training rows")
        requirements, target_requirements = requirements or {}, target_requirements or {}
        inputs = config.modalities
        fitted_columns, fitted_targets = fitted_columns or {}, fitted_targets or {}
        targets = {name: fitted_targets.get(name) or config.target_processor(name) for name in config.targets}
        columns = {name: fitted_columns.get(name) or config.column_processor(name) for name in config.columns}
        for target in targets.values():
            target.attach(columns)
            transform = None if target.over is None else config.transforms.get(target.over)
            if transform is not None:
                _check_traced(transform, target)
            cleaner = None if target.over is None else columns[target.over].cleaner
            moving = [each.type for each in cleaner.configs if each.moves] if cleaner else []
            if moving:
                raise ColumnError(
                    f"data.cleaning.{target.over}: {moving[0]!r} would shift the places of target {target.name!r}, "
                    f"which lies in the column; leave it out"
                )
        for name, column in config.columns.items():  # before a filler adds what the table lacks
            table.require(column.source(name), "input column")
        if imputer is None and any(each.within_cells() is None for each in config.missing.values()):
            imputer = _fitted_imputer(table, config)
        table = table if imputer is None else imputer.fill(table)
        for name, target in targets.items():  # first: they are quick, and wrong more often
            if target.over is None and name not in fitted_targets:
                target.fit(table, target_requirements.get(name), inputs)
                _log_warnings(target)
        for name, column in config.columns.items():
            source = column.source(name)
            cells, sources = _cells(table, source), _PerRow(len(table), partial(table.source, column=source))
            if name not in fitted_columns:
                columns[name].fit(cells, sources, table.root_of(source), requirements.get(name, Requirements()))
            extractors = config.features.get(name, ())
            columns[name].fit_features(extractors, cells, sources, table.root_of(source), most_cells=most_for_features)
        for name, target in targets.items():
            if target.over is not None and name not in fitted_targets:
                target.fit(table)
                _log_warnings(target)
        if config.weight is None:
            return Processor(columns, targets, imputer=imputer)
        table.require(config.weight, "weight column")
        evidence = NotationEvidence.of(table.cells(config.weight))
        processor = Processor(columns, targets, config.weight, evidence.notation, imputer)
        processor.weight_warnings = tuple(evidence.warnings("write the weights without a mark between thousands"))
        for warning in processor.weight_warnings:
            _log.warning("weight %r: %s", config.weight, warning)
        return processor

    def use_prepared(self, store: PreparedStore | None) -> list[str]:
        """Has columns read cells that were decoded before, where there are any.

        Args:
            store: None: all are decoded.

        Returns:
            The columns that have some.
        """
        reading: list[str] = []
        digests = None
        for name, column in self.columns.items():
            column.prepared = None
            if store is None or not column.is_media or not store.folder.is_dir():
                continue
            shelf = decoding_fingerprint(column).hex()
            if store.has(shelf):
                digests = store.digests() if digests is None else digests
                column.prepared = PreparedColumn(store.reading(shelf), CellKeys(is_media=True, digests=digests))
                reading.append(name)
        return reading

    def with_features(self, configs: Mapping[str, Sequence[FeatureConfig]], table: Table) -> Processor:
        """The same preprocessing with other feature vectors; this one's own columns are changed, so load it anew.

        Args:
            configs: Per column what its vectors consist of; columns that are not named have none.
            table: The training rows that they are learned from, `prepared`.

        Raises:
            ColumnError: No cell of a column that was tried can be read.
        """
        for name, column in self.columns.items():
            if table.has(column.source):
                sources = _PerRow(len(table), partial(table.source, column=column.source))
                root = table.root_of(column.source)
                column.fit_features(configs.get(name, ()), _cells(table, column.source), sources, root)
        return Processor(self.columns, self.targets, self.weight, self._weight_notation, self.imputer)

    @property
    def warnings(self) -> list[str]:
        """What of the training cells may be read otherwise than it was meant; none of a loaded processor."""
        columns = [f"{name}: {text}" for name, column in self.columns.items() for text in column.warnings]
        targets = [f"{name}: {text}" for name, target in self.targets.items() for text in target.warnings]
        return [*columns, *targets, *(f"weight {self.weight!r}: {text}" for text in self.weight_warnings)]

    def cleaning_remarks(self) -> list[str]:
        """What each cleaning did to the training cells; of a loaded processor nothing."""
        cleaners = {name: column.cleaner for name, column in self.columns.items()}
        cleaners |= {name: target.cleaner for name, target in self.targets.items()}
        results = [f"{name}: {text}" for name, each in cleaners.items() if each.num_cells for text in each.remarks()]
        return results + (self.imputer.remarks() if isinstance(self.imputer, TableImputer) else [])

    def unfamiliar(self, table: Table) -> list[str]:
        """What of a table can be read and still means little to a model that was fitted on another, for warnings.

        Args:
            table: Any table; single values are looked at, not files.
        """
        warnings = []
        for name, column in self.columns.items():
            if not column.is_media and table.has(column.source):
                warning = column.unfamiliar(map(column.cleaner.cell, table.cells(column.source)))
                if warning is not None:
                    warnings.append(f"{table.name}, column {name!r}: {warning}")
        return warnings

    def require_any(self, table: Table) -> Table:
        """The table; refused if it has none of the model's columns, for every prediction would be the same.

        Raises:
            TableError: It names the columns that the model reads and those of the table.
        """
        sources = [column.source for column in self.columns.values()]
        read = [*sources, *(name for target in self.targets.values() for name in target.prompt_columns)]
        read += () if self.imputer is None else self.imputer.reads
        if not any(table.has(name) for name in read):
            expected = list(dict.fromkeys(read))
            near = [hint for name in expected if (hint := did_you_mean(name, table.names))]
            raise TableError(
                f"{table.name}: has none of the model's columns; expected at least one of {_listed(expected)}; found "
                f"{_listed(table.names) or 'none'}; rename the columns as they were in training{''.join(near[:1])}"
            )
        return table

    def prepared(self, table: Table) -> Table:
        """The table as `transform` reads it: with what fills its missing cells, where there is a filler."""
        table = table.changed(sides={}) if table.sides else table  # joined: processes that decode need no copy
        for target in self.targets.values():
            target.prepare(table)
        if self.imputer is not None:
            return self.imputer.fill(table)
        return table if table.imputations is None else table.changed(imputations=None)

    def transform(
        self, table: Table, i: int, *, with_targets: bool, stored: Mapping[str, StoredColumn] | None = None
    ) -> Sample:
        """Prepares one row.

        Args:
            table: Any table, as `prepared` gives it; columns that it lacks are missing, others than the model's are
                left alone.
            i: Position in the table.
            with_targets: Whether to read targets and the weight too.
            stored: Per column what its frozen backbone gave for cells before; such a cell is not decoded.

        Returns:
            The row; `row` is `i`. What can't be read is missing and listed in `unreadable`, for any content of any
            cell.
        """
        sample = Sample(row=i)
        unreadable: list[Unreadable] = []
        for name, column in self.columns.items():
            source = column.source
            if not table.has(source):
                self._report(table, source)
                continue
            cell = table.cell(i, source)
            if cell is None:
                continue
            if stored is not None and name in stored:
                kept, placement = stored[name].read(cell, table.root_of(source))
                if kept is not None:
                    sample.stored[name] = kept
                    if placement is not None:
                        sample.placements[name] = placement
                    continue
            try:
                items, placement = column.placed(cell, table.source(i, source), table.root_of(source))
            except DecodeError as error:
                # Under the input's own name: two inputs may read one column.
                unreadable.append(Unreadable(source=table.source(i, name, named_file(cell, column)), reason=str(error)))
                continue
            if items:
                sample.values[name] = items
                if placement is not None:
                    sample.placements[name] = placement
        self._read_prompts(sample, table, i, unreadable, with_targets)
        if with_targets:
            self._read_targets(sample, table, i, unreadable)
        sample.unreadable = tuple(unreadable)
        return sample

    def add_features(self, sample: Sample, table: Table, i: int) -> None:
        """Adds the feature vectors of a row's cells, in place.

        Args:
            sample: What `transform` gave for it, not augmented.
            table: The same table.
            i: The same position.
        """
        sample.features = {}
        for name, column in self.columns.items():
            if column.features is None or not (name in sample.values or name in sample.stored):
                continue
            cell = table.cell(i, column.source)
            items = sample.values.get(name)
            with contextlib.suppress(DecodeError):  # it was read before: the file has gone since
                if items is None:
                    items = column.transform(cell, table.source(i, column.source), table.root_of(column.source))
            if items:
                sample.features[name] = column.extract(cell, items)

    def _read_prompts(
        self, sample: Sample, table: Table, i: int, unreadable: list[Unreadable], with_targets: bool
    ) -> None:
        for name, target in self.targets.items():
            for column in target.prompt_columns:
                if not table.has(column):
                    self._report(table, column)
            try:
                prompt = target.prompt(table, i)
            except DecodeError as error:
                columns = target.prompt_columns or target.columns
                unreadable.append(Unreadable(source=table.source(i, ", ".join(columns)), reason=str(error)))
                continue
            if prompt is not None:
                sample.prompts[name] = prompt.ids
                if with_targets and prompt.trained is not None and prompt.trained.any():
                    sample.trained[name] = prompt.trained

    def _read_targets(self, sample: Sample, table: Table, i: int, unreadable: list[Unreadable]) -> None:
        for name, target in self.targets.items():
            try:
                items = () if target.over is None else sample.values.get(target.over, ())
                read = partial(target.transform, table, i, items)
                # A target in a column may be a file of its own, as a mask is.
                value = read() if target.over is None else within_limit(read, (table.name, int(table.rows[i]), name))
            except DecodeError as error:
                result = Unreadable(source=table.source(i, ", ".join(target.columns)), reason=str(error))
                if result not in unreadable:  # a prompt may be read from the same cell
                    unreadable.append(result)
                continue
            if value is not None:
                sample.targets[name] = value
        if self.weight is not None and table.has(self.weight):
            try:
                weight = self._weight_notation.read(table.cell(i, self.weight))
                if weight is not None and weight < 0:
                    raise DecodeError(f"found the weight {weight:g}, expected 0 or more; the row counts as 1")
            except DecodeError as error:
                unreadable.append(Unreadable(source=table.source(i, self.weight), reason=str(error)))
                return
            sample.weight = 1.0 if weight is None else weight

    def _report(self, table: Table, column: str) -> None:
        if (table.name, column) not in self._reported:
            self._reported.add((table.name, column))
            _log.warning("%s has no column %r: it counts as missing in all rows", table.name, column)

    def save(self, folder: Path) -> None:
        """Writes everything that `load` needs into a folder: processor.json and a folder for each column's files."""
        state = {
            "version": _VERSION,
            # By position: a column's name may be no file's name.
            "columns": [column.save(folder / f"column_{i}") for i, column in enumerate(self.columns.values())],
            "targets": [target.save(folder / f"target_{i}") for i, target in enumerate(self.targets.values())],
            "weight": self.weight,
            "weight_notation": self._weight_notation.plain(),
            "missing": self.imputer.plain() if isinstance(self.imputer, TableImputer) else None,
        }
        write_json(folder / _FILE, state)

    @staticmethod
    def load(folder: Path, imputer: CellImputer | None = None) -> Processor:
        """Rebuilds what `save` wrote; a filler imputes missing cells first.

        Raises:
            BundleError: The folder is incomplete, broken or of another version.
        """
        path = folder / _FILE
        try:
            state = read_json(path, dict)
        except FileNotFoundError:
            raise BundleError(f"{path}: no such file; expected the folder of a saved model") from None
        except (OSError, ValueError) as error:
            raise BundleError(f"{path}: can't be read: {error}") from None
        version = state.get("version") if isinstance(state, dict) else None
        if version != _VERSION:
            raise BundleError(f"{path}: found version {version!r}, expected {_VERSION}; save the model again")
        try:
            columns = [ColumnProcessor.load(part, folder / f"column_{i}") for i, part in enumerate(state["columns"])]
            targets = [TargetProcessor.load(part, folder / f"target_{i}") for i, part in enumerate(state["targets"])]
            weight, notation = state["weight"], Notation.restored(state["weight_notation"])
            if state["missing"] is not None:
                imputer = TableImputer.restored(state["missing"])
        except (KeyError, TypeError) as error:
            raise BundleError(f"{path}: is broken: {error}") from error
        by_name = {column.name: column for column in columns}
        return Processor(by_name, {target.name: target for target in targets}, weight, notation, imputer)


def _fitted_imputer(table: Table, config: DataConfig) -> TableImputer:
    """What imputes missing cells, learned from the training rows."""
    whole = {name: each for name, each in config.missing.items() if each.within_cells() is None}
    imputed = {config.columns[name].source(name): each for name, each in whole.items()}
    # Two inputs may read one column: what imputes it reads it as the one does that asks for it.
    names = sorted(config.columns, key=lambda name: name in config.missing)
    sources = {name: config.columns[name].source(name) for name in names}
    numeric = {
        source: config.columns[name].notation
        for name, source in sources.items()
        if modality(config.columns[name].modality).is_numeric
    }
    cleaning = {source: config.cleaning[name] for name, source in sources.items() if name in config.cleaning}
    order = [sources[name] for name in config.columns if sources[name] in numeric]
    return TableImputer.fit(table, imputed, {source: numeric[source] for source in order}, cleaning)


def _log_warnings(target: TargetProcessor) -> None:
    for warning in target.warnings:
        _log.warning("target %r: %s", target.name, warning)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(map(repr, names[:_MAX_LISTED])) + more


def _check_traced(transform: TransformConfig, target: TargetProcessor) -> None:
    """Raises ColumnError if a target lies in a column that is augmented, and can't follow."""
    where, align = f"data.transforms.{target.over}", task(target.config.task).align
    if transform.untraced:
        settings = " and ".join(transform.untraced)
        raise ColumnError(f"{where}: {settings} makes the positions of target {target.name!r} undefined; set it to 0")
    if transform.moves and isinstance(align, Unsupported):
        raise ColumnError(f"{where}: changes the positions of target {target.name!r}, and {align.reason}; leave it out")


def named_file(cell: object, column: ColumnProcessor) -> str | None:
    """The path that a media cell names, for the list of what could not be read."""
    if not column.is_media:
        return None
    result = cell.get("path") if isinstance(cell, dict) else cell
    return result[:500] if isinstance(result, str) else None


def _cells(table: Table, column: str) -> Sequence[object]:
    """A column's cells; one at a time where they may hold whole files."""
    kind = table.dtype(column)
    if not (kind.is_nested() or kind == pl.Binary):
        return table.cells(column)
    return _PerRow(len(table), lambda i: table.cell(i, column))


class _PerRow(Sequence[T]):
    """Something about each row, made when asked for: a table's files need not fit into memory at once, and a million
    sources at once would take a second."""

    def __init__(self, num_rows: int, at: Callable[[int], T]) -> None:
        self._rows, self._at = range(num_rows), at

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return [*map(self._at, self._rows[index])] if isinstance(index, slice) else self._at(self._rows[index])

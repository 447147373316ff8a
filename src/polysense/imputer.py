"""Missing cells, filled by a trained model before another model's preprocessing reads them.

It stands below the bundle, which holds one, and above data and nn: it needs the preprocessing and the model that
reconstructs columns. Imputed values stand beside the cells (`Table.imputations`), so a cell that is there is never
touched, and an imputed value depends on its own row alone: neither on the other rows nor on their columns' types.

It sees the columns in `reads` and no others. So what a model must not read, its answer above all, does not come in by
way of what is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
import torch

from polysense.core.batch import Batch
from polysense.core.logs import get_logger
from polysense.core.prediction import as_arrays
from polysense.core.random import fold
from polysense.core.registry import task
from polysense.core.schema import Schema, Target
from polysense.core.task_spec import Arrays
from polysense.core.unsupported import Unsupported
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.data.processor import Processor
from polysense.data.tables.sources import Imputations, Table
from polysense.nn.model import MultimodalModel

__all__ = ["Imputer", "Reconstructor", "missing_cells", "reconstructed_batches", "reconstructed_columns"]

_log = get_logger("polysense.imputer")

_LOGGED_FROM = 10_000  # rows; fewer take seconds


@runtime_checkable
class Reconstructor(Protocol):
    """A trained model that reconstructs columns, with its preprocessing: a bundle."""

    processor: Processor
    model: MultimodalModel
    prediction: PredictionConfig

    def save(self, folder: Path | str) -> None:
        """Writes it as a folder, whole or not at all."""

    def write(self, folder: Path, place: Path) -> None:
        """Writes its files into a folder that is being made, and will lie at another place then."""


class Imputer:
    """Imputes missing cells of a table's columns.

    Args:
        reconstructor: What reconstructs them.
        imputations: Per column of the table that is filled, the restorer's input column that it is.
        reads: The table's columns that it may look at.
    """

    def __init__(self, reconstructor: Reconstructor, *, imputations: Mapping[str, str], reads: Sequence[str]) -> None:
        self.reconstructor = reconstructor
        self.imputations = dict(imputations)
        self.reads = tuple(reads)
        self._known: WeakKeyDictionary[Table, Table] = WeakKeyDictionary()

    def fill(self, table: Table) -> Table:
        """The table with what imputes its missing cells; a column that it lacks is missing in all its rows.

        A row with nothing to fill it from, and a cell that the model has nothing to write for, stay missing. A cell
        that can't be read is not missing.
        """
        if table.imputations is not None and table.imputations.by is self:
            return table
        result = self._known.get(table)
        if result is None:  # a training table is asked for several times
            result = self._known[table] = self._filled(table.changed(imputations=None))
        return result

    def counts(self, table: Table) -> dict[str, tuple[int, int]]:
        """Per column how many cells are imputed, and how many were missing."""
        imputations = self.fill(table).imputations
        assert imputations is not None
        rows = table.rows.tolist()
        return {
            name: (sum(row in imputations.cells[name] for row in rows), int(missing_cells(table, name).sum()))
            for name in self.imputations
        }

    def as_json(self) -> dict[str, Any]:
        """What it is made from again, beside the restorer."""
        return {"imputations": self.imputations, "reads": list(self.reads)}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._known = WeakKeyDictionary()

    def _filled(self, table: Table) -> Table:
        processor = self.reconstructor.processor
        lacks = {name: missing_cells(table, name) for name in self.imputations}
        cells: dict[str, dict[int, Any]] = {name: {} for name in self.imputations}
        requested = np.flatnonzero(np.any(list(lacks.values()), axis=0))
        if len(requested) >= _LOGGED_FROM:
            _log.info("%s: imputing missing cells of %s rows", table.name, f"{len(requested):,}")
        part = self._seen(table.select(requested))
        for batch, reconstructed in reconstructed_batches(self.reconstructor, part) if len(requested) else ():
            present = batch.presence(batch.columns).any(dim=1)
            for index, row in enumerate(batch.rows.tolist()):
                if row < 0 or not present[index]:
                    continue
                position = int(requested[row])
                for name, member in self.imputations.items():
                    if lacks[name][position]:
                        made = processor.columns[member].restore(reconstructed[member][index, ...], spelled=False)
                        if made is not None:
                            cells[name][int(table.rows[position])] = made
        added = [pl.lit(None).alias(name) for name in self.imputations if not table.has(name)]
        return replace(table, frame=table.frame.with_columns(added), imputations=Imputations(by=self, cells=cells))

    def _seen(self, table: Table) -> Table:
        """The columns that it may look at; the restorer's others hold nothing."""
        known = dict.fromkeys(column.table_column for column in self.reconstructor.processor.schema)
        hidden = [pl.lit(None).alias(name) for name in known if name not in self.reads or not table.has(name)]
        return replace(table, frame=table.frame.with_columns(hidden).select(*known))


def reconstructed_columns(schema: Schema) -> dict[str, Target]:
    """The input columns that a model reconstructs, and the target that each is reconstructed by."""
    results: dict[str, Target] = {}
    for target in schema.targets:
        if task(target.task).reconstructs_columns:
            results |= {name: target for name in target.members if name not in results}
    return results


def reconstructed_batches(
    reconstructor: Reconstructor,
    table: Table,
    progress: Callable[[int, int], None] | None = None,
    draw: int | None = None,
) -> Iterator[tuple[Batch, Arrays]]:
    """A table's rows and what a model reconstructs of them, by column; rows as `PredictLoader` gives them.

    Args:
        reconstructor: What reconstructs them.
        table: The rows.
        progress: Called with the rows that are done and the rows there are.
        draw: Seed by which heads that can be drawn are, each row by its number; None takes their means.
    """
    processor, model = reconstructor.processor, reconstructor.model.eval()
    device = next(model.parameters()).device
    dataset = TableDataset(table, processor, with_targets=False)
    for batch in PredictLoader(dataset, processor.schema, progress=progress, prediction=reconstructor.prediction):
        reconstructed: dict[str, np.ndarray] = {}
        if draw is not None:
            numbers = table.rows[np.maximum(batch.rows.numpy(), 0)]
            batch = replace(batch, keys=torch.from_numpy(fold(draw, numbers, "imputation").view(np.int64)))
        predictions = model.predict(batch.to(device), draw=draw is not None)[0]
        for target in processor.schema.targets:
            reconstructions = task(target.task).reconstructions
            if not isinstance(reconstructions, Unsupported):
                reconstructed = {**reconstructions(target, as_arrays(predictions[target.name])), **reconstructed}
        yield batch, reconstructed


def missing_cells(table: Table, name: str) -> np.ndarray:
    """Which rows lack a column's cell, whatever imputes it; bool [rows]."""
    if not table.has(name):
        return np.ones(len(table), dtype=bool)
    return np.array([cell is None for cell in table.changed(imputations=None).cells(name)], dtype=bool)

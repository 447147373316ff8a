"""Change an encoded batch: cells masked, one column's cells exchanged between rows, or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch

from polysense.core.batch import Batch, ColumnBatch
from polysense.core.corruption import Corruption
from polysense.core.pytree import map_tensors
from polysense.core.random import fold, generator
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.core.tokens import Tokens
from polysense.data.batches.collate import collate
from polysense.data.batches.dataset import TableDataset
from polysense.errors import DecodeError
from polysense.nn.model import MultimodalModel
from polysense.workflows.evaluating import fitted_processor

__all__ = ["Encoded", "damaged", "exchanged", "masked", "with_column"]

Encoded: TypeAlias = tuple[Batch, Mapping[str, Tokens]]
"""A batch on the model's device, and its tokens."""


def masked(encoded: Encoded, keep: Mapping[str, np.ndarray]) -> Encoded:
    """The batch with some cells absent, as if they were missing.

    Args:
        encoded: The batch.
        keep: Per column bool [batch], the rows that keep it; columns that are not named keep all.
    """
    batch, tokens = encoded
    kept = {name: torch.from_numpy(rows).to(batch.device) for name, rows in keep.items()}
    columns = {name: column.masked(kept[name]) if name in kept else column for name, column in batch.columns.items()}
    remaining = {name: each.masked(kept[name]) if name in kept else each for name, each in tokens.items()}
    return replace(batch, columns=columns), remaining


def with_column(encoded: Encoded, name: str, column: ColumnBatch, tokens: Tokens) -> Encoded:
    """The batch with another column in the place of one."""
    batch, others = encoded
    return replace(batch, columns={**batch.columns, name: column}), {**others, name: tokens}


def exchanged(encoded: Encoded, name: str, rows: np.ndarray, seed: int) -> tuple[Encoded, int]:
    """The batch with one column's cells passed on, each to another row that has one; and how many were.

    The rows are ordered by a hash of each and every one takes the next one's cell, so no row keeps its own. A single
    row that has the column has no partner.

    Args:
        encoded: The batch.
        name: The column.
        rows: int64 [batch], the rows' numbers, -1 for those that fill the shape.
        seed: Of the order.
    """
    batch, tokens = encoded
    own = np.flatnonzero(batch.columns[name].present.cpu().numpy() & (rows >= 0))
    if len(own) < 2:
        return encoded, 0
    order = own[np.argsort(fold(seed, "mismatch", name, rows[own]), kind="stable")]
    source = np.arange(len(rows))
    source[order] = np.roll(order, -1)
    index = torch.from_numpy(source).to(batch.device)
    column = map_tensors(lambda values: values[index], batch.columns[name])
    return with_column(encoded, name, column, map_tensors(lambda values: values[index], tokens[name])), len(own)


def damaged(
    encoded: Encoded,
    name: str,
    corruption: Corruption,
    severity: int,
    *,
    model: MultimodalModel,
    dataset: TableDataset,
    rows: np.ndarray,
    seed: int,
) -> Encoded:
    """The batch with one column's cells damaged and encoded anew.

    Args:
        encoded: The batch, of the data set's rows.
        name: The column.
        corruption: What damages it.
        severity: From 1 to 5.
        model: Whose encoder reads it.
        dataset: Where the cells are.
        rows: int64 [batch], the rows' numbers, which decide what is drawn.
        seed: Of the draws.
    """
    batch, _ = encoded
    samples = [
        _damaged_sample(dataset, int(position), name, corruption, severity, seed, int(row))
        for position, row in zip(batch.rows.cpu().numpy(), rows, strict=True)
    ]
    alone = Schema(columns=(dataset.schema.column(name),), targets=())
    column = collate(samples, alone, with_targets=False).columns[name].to(batch.device)
    with torch.no_grad():
        tokens = model.column_encoders[name](column)
    return with_column(encoded, name, column, tokens)


def _damaged_sample(
    dataset: TableDataset, position: int, name: str, corruption: Corruption, severity: int, seed: int, row: int
) -> Sample:
    """One column of one row, damaged; a cell that can't be read after that is absent."""
    if position < 0:
        return Sample(row=-1, weight=0.0)
    sample, table = dataset[position], dataset.table
    if name not in sample.values and name not in sample.stored:
        return Sample(row=position)
    column = fitted_processor(dataset).columns[name]
    cell, source = table.cell(position, column.source), table.source(position, column.source)

    def draws() -> np.random.Generator:
        # The items of a cell, such as the frames of a video, are damaged alike.
        return generator(seed, "corruption", row, name, corruption.name)

    result = Sample(row=position, features=None if sample.features is None else {})
    try:
        if corruption.of_cell is not None:
            cell = corruption.of_cell(cell, severity, draws())
            items = column.transform(cell, source, table.root_of(column.source))
        else:
            assert corruption.of_item is not None
            known = sample.values.get(name)
            items = column.transform(cell, source, table.root_of(column.source)) if known is None else known
            items = [corruption.of_item(column.column, item, severity, draws()) for item in items]
        if items and result.features is not None and column.features is not None:
            result.features[name] = column.extract(cell, items)
    except DecodeError:
        return result
    if items:
        result.values[name] = items
    if (placement := sample.placements.get(name)) is not None:
        result.placements[name] = placement
    return result

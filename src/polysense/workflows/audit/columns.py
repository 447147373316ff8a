"""Measure what each column contributes to a model's predictions of a table, within the time that is given.

Where time is short, fewer subsets of the columns are tried first: what removing a column costs, and what it gives
alone, which verdicts are read from, need few of them. Only then are there fewer rows. Both are halved, never cut to the
second, so that a run that is measured again has the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.contribution import contribution_rows, contributions
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.shapley import coalitions
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.changes import masked
from polysense.workflows.audit.stacking import BLOCK, MOST_COLUMNS, num_stacked, predict_variants, rows_together
from polysense.workflows.scoring import contributed_targets
from polysense.workflows.stored_features import store_for_bundle
from polysense.workflows.table_split import row_groups

__all__ = ["measured_contributions"]

_SubsetPredictions: TypeAlias = Callable[[Batch, list[frozenset[str]]], Sequence[Mapping[str, Prediction]]]

_MOST_SUBSETS = 128
_FEWEST_ROWS = 400
_FEWEST_ROWS_OF_WIDE = 192
_TRIED = 64  # subsets by which the time of all is told


def measured_contributions(
    bundle: Bundle,
    table: Table,
    *,
    max_rows: int,
    bootstrap: int,
    seed: int,
    trained_alone: Mapping[str, TargetBaselines] | None = None,
    deadline: Deadline | None = None,
) -> Contributions:
    """The contributions, by a random sample of the table's rows.

    Args:
        bundle: The model.
        table: The rows.
        max_rows: Of the sample.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the sample and of the resamples.
        trained_alone: By target simple models, see `contributions`.
        deadline: When they must be over; what is left out for it is noted there. None: there is time.
    """
    rows = table.select(contribution_rows(len(table), max_rows=max_rows, seed=seed))
    dataset = TableDataset(rows, bundle.processor)
    store_for_bundle(bundle, [dataset])
    bundle.model.eval()
    most = _most_together(bundle, dataset)
    bundle = _in_blocks(bundle, len(rows), most)

    def predict(batch: Batch, subsets: list[frozenset[str]]) -> Sequence[Mapping[str, Prediction]]:
        moved = batch.to(bundle.device)
        with torch.no_grad():
            tokens = bundle.model.encode(moved)
        if num_stacked(tokens) == 1:
            return bundle.model.predict(moved, subsets, tokens=tokens, write=False)
        none = np.zeros(len(moved), dtype=bool)
        absent = ({name: none for name in bundle.schema.names if name not in subset} for subset in subsets)
        variants = (masked((moved, tokens), each) for each in absent)
        return [predictions for _, predictions in predict_variants(bundle.model, variants)]

    max_subsets = _MOST_SUBSETS
    if deadline is not None and deadline.left < math.inf:
        extent = _affordable(predict, bundle, dataset, deadline)
        max_subsets = extent.max_subsets
        if extent.rows < len(rows):
            rows = table.select(contribution_rows(len(table), max_rows=extent.rows, seed=seed))
            dataset = TableDataset(rows, bundle.processor, stored=dataset.stored)
            bundle = _in_blocks(bundle, len(rows), most)

    return contributions(
        predict,
        bundle.batches(dataset),
        contributed_targets(bundle.schema),
        bundle.schema.columns,
        bootstrap=bootstrap,
        seed=seed,
        max_subsets=max_subsets,
        num_available=len(table),
        clusters=row_groups(bundle, rows),
        trained_alone=trained_alone,
    )


def _most_together(bundle: Bundle, dataset: TableDataset) -> int:
    """Rows of a wide table in one block, as its variants are not stacked: of 150 numbers a row takes a quarter of the
    time in blocks of 192. 0 where the model's own blocks serve."""
    if len(bundle.schema.columns) <= MOST_COLUMNS:
        return 0
    for batch in bundle.batches(dataset):
        with torch.no_grad():
            size = rows_together(bundle.model.encode(batch.to(bundle.device)))
        return size if size > len(batch) else 0
    return 0


def _in_blocks(bundle: Bundle, num_rows: int, most: int) -> Bundle:
    """The model with blocks of the same size for so many rows, none larger than `most`; as it is where that is 0."""
    if not most:
        return bundle
    num_blocks = math.ceil(num_rows / most)
    return bundle.with_blocks(block_size=math.ceil(num_rows / num_blocks / BLOCK) * BLOCK)


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """How much is measured.

    Attributes:
        max_subsets: Of the columns, see `coalitions`.
        rows: Of the sample.
    """

    max_subsets: int
    rows: int


def _affordable(predict: _SubsetPredictions, bundle: Bundle, dataset: TableDataset, deadline: Deadline) -> _Extent:
    """What fits into the time that is left, by the first batch in some subsets; verdicts need the fewest."""
    names = [column.name for column in bundle.schema.columns]
    subsets, num_rows = _MOST_SUBSETS, len(dataset)
    every = num_subsets = len(coalitions(names, max_subsets=subsets).subsets)
    fewest = len(coalitions(names, max_subsets=0).subsets)
    begun = time.monotonic()
    for batch in bundle.batches(dataset):
        reading = time.monotonic() - begun
        predict(batch, [frozenset(names)])  # the first one of a process takes longer
        tried = coalitions(names, max_subsets=subsets).subsets
        tried = tried[:: math.ceil(len(tried) / _TRIED)]
        started = time.monotonic()
        predict(batch, list(tried))
        seconds = (time.monotonic() - started) * every / len(tried) / max(1, int((batch.rows >= 0).sum()))
        break
    else:
        return _Extent(max_subsets=subsets, rows=num_rows)
    reading /= max(1, min(num_rows, len(batch)))
    left = deadline.left

    def cost(subsets: int, rows: int) -> float:
        return rows * (reading + seconds * subsets / every)

    while cost(num_subsets, num_rows) > left and num_subsets > fewest:
        subsets //= 2
        num_subsets = len(coalitions(names, max_subsets=subsets).subsets)
    rows = num_rows
    # Where subsets are that many, rows are what is left to save.
    fewest_rows = _FEWEST_ROWS if fewest <= _FEWEST_ROWS else _FEWEST_ROWS_OF_WIDE
    while cost(num_subsets, rows) > left and rows > fewest_rows:
        rows = max(fewest_rows, rows // 2)
    if num_subsets < every:
        deadline.note("subsets", f"column importance by more than {num_subsets:,} of {every:,} subsets of the columns")
    if rows < num_rows:
        deadline.note("rows", f"column importance on more than {rows:,} of {num_rows:,} rows")
    return _Extent(max_subsets=subsets, rows=rows)

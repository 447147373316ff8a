"""Measure what each column contributes to a model's predictions of a table, within the time that is given.

Where time is short, fewer subsets of the columns are tried first: what removing a column costs, and what it gives
alone, which verdicts are read from, need few of them. Only then are there fewer rows. Where even that takes too long,
since columns are many, some are judged one by one and the others in groups (`evaluation.players`). All of it is halved,
never cut to the second, so that a run that is measured again has the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.contribution import contribution_rows, contributions
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.players import Player
from polysense.evaluation.shapley import coalitions
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.training.time_plan import Deadline
from polysense.workflows.audit.grouping import chosen_players
from polysense.workflows.audit.stacking import BLOCK, MOST_COLUMNS, rows_together
from polysense.workflows.audit.subset_predictions import encoded_batch, from_subsets
from polysense.workflows.scoring import contributed_targets
from polysense.workflows.stored_features import store_for_bundle
from polysense.workflows.table_split import row_groups

__all__ = ["measured_contributions"]

_MOST_SUBSETS = 128
_FEWEST_ROWS = 400
_SHARE_OF_TRIAL = 0.05  # of the time that is left, by which the time of all is told
_FEWEST_TO_GROUP = 12  # columns; of fewer each one is judged, whatever that takes
_SEARCHED_ROWS = 32
_SHARE_OF_SEARCH = 1 / 3  # of the time that is left
_SPLITS = (256, 128, 64, 32, 16, 8)
_PLAYERS = (16, 12, 8, 4)
_FEWEST_ROWS_OF_GROUPS = (400, 192, 64)
_SUBSETS_OF_SPLIT = 2.25  # with the share of a round's whole rows


def measured_contributions(
    bundle: Bundle,
    table: Table,
    *,
    max_rows: int,
    bootstrap: int,
    seed: int,
    trained_alone: Mapping[str, TargetBaselines] | None = None,
    deadline: Deadline | None = None,
    read: TableDataset | None = None,
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
        read: The table's rows, with what was decoded of them before.
    """
    whole = TableDataset(table, bundle.processor) if read is None else read
    chosen = contribution_rows(len(table), max_rows=max_rows, seed=seed)
    dataset, rows = whole.part(chosen), table.select(chosen)
    store_for_bundle(bundle, [dataset])
    bundle.model.eval()
    most = _most_together(bundle, dataset)
    bundle = _in_blocks(bundle, len(rows), most)

    def predict(batch: Batch, subsets: list[frozenset[str]]) -> Sequence[Mapping[str, Prediction]]:
        return from_subsets(bundle, encoded_batch(bundle, batch), subsets)

    max_subsets, players = _MOST_SUBSETS, None
    if deadline is not None and deadline.left < math.inf:
        cost = _measured_cost(bundle, dataset, deadline)
        extent = _affordable(cost, bundle.schema.names, len(rows), deadline)
        max_subsets, num_rows = extent.max_subsets, extent.rows
        if extent.players:
            # A search on the rows that are judged would choose what happens to look good on them.
            apart = len(rows) - min(_SEARCHED_ROWS, len(rows) // 4)
            every, judged = (contribution_rows(len(table), max_rows=number, seed=seed) for number in (len(rows), apart))
            searched = np.setdiff1d(every, judged)
            players = chosen_players(
                _in_blocks(bundle, len(searched), most),
                _part(whole, searched, dataset),
                num_splits=extent.splits,
                most=extent.players,
            )
            num_rows = min(num_rows, apart)
            _note_groups(players, deadline)
        if num_rows < len(rows):
            chosen = contribution_rows(len(table), max_rows=num_rows, seed=seed)
            rows, dataset = table.select(chosen), _part(whole, chosen, dataset)
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
        players=players,
    )


def _part(whole: TableDataset, positions: np.ndarray, like: TableDataset) -> TableDataset:
    """Some rows, with the same features of frozen networks as another part."""
    part = whole.part(positions)
    part.use_stored(like.stored)
    return part


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
class _Cost:
    """What measuring takes, in seconds.

    Attributes:
        reading: A row, read and encoded.
        subset: A row predicted from one subset of the columns.
    """

    reading: float
    subset: float

    def of(self, rows: int, subsets: int | float) -> float:
        """So many rows in so many subsets."""
        return rows * (self.reading + subsets * self.subset)


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """How much is measured.

    Attributes:
        max_subsets: Of the columns, see `coalitions`.
        rows: Of the sample, at most.
        players: At most; 0: each column by itself.
        splits: Of groups, in the search for players.
    """

    max_subsets: int
    rows: int
    players: int = 0
    splits: int = 0


def _measured_cost(bundle: Bundle, dataset: TableDataset, deadline: Deadline) -> _Cost:
    """By the first batch in more and more subsets, until a part of the time is over."""
    names = bundle.schema.names
    subsets = list(coalitions(names, max_subsets=_MOST_SUBSETS).subsets)
    begun = time.monotonic()
    for batch in bundle.batches(dataset):
        rows = max(1, int((batch.rows >= 0).sum()))
        encoded = encoded_batch(bundle, batch)
        reading = time.monotonic() - begun
        from_subsets(bundle, encoded, [frozenset(names)])  # the first one of a process takes longer
        most, number, took = _SHARE_OF_TRIAL * deadline.left, 0, 0.0
        while took <= most and number < len(subsets):
            number = min(len(subsets), max(1, 2 * number))
            started = time.monotonic()
            from_subsets(bundle, encoded, subsets[:: math.ceil(len(subsets) / number)])
            took = time.monotonic() - started
        tried = len(subsets[:: math.ceil(len(subsets) / number)])
        return _Cost(reading=reading / rows, subset=took / tried / rows)
    return _Cost(reading=0.0, subset=0.0)


def _affordable(cost: _Cost, names: Sequence[str], num_rows: int, deadline: Deadline) -> _Extent:
    """What fits into the time that is left; where each column's verdict does not, columns are grouped."""
    left = deadline.left
    every, fewest = _num_subsets(len(names), _MOST_SUBSETS), _num_subsets(len(names), 0)
    few_rows = min(num_rows, _FEWEST_ROWS)
    if len(names) > _FEWEST_TO_GROUP and cost.of(few_rows, fewest) > left:
        return _grouped(cost, num_rows, deadline)
    subsets = _MOST_SUBSETS
    num_subsets = every
    while cost.of(num_rows, num_subsets) > left and num_subsets > fewest:
        subsets //= 2
        num_subsets = _num_subsets(len(names), subsets)
    rows = num_rows
    while cost.of(rows, num_subsets) > left and rows > few_rows:
        rows = max(few_rows, rows // 2)
    if num_subsets < every:
        deadline.note("subsets", f"column importance by more than {num_subsets:,} of {every:,} subsets of the columns")
    if rows < num_rows:
        deadline.note("rows", f"column importance on more than {rows:,} of {num_rows:,} rows")
    return _Extent(max_subsets=subsets, rows=rows)


def _grouped(cost: _Cost, num_rows: int, deadline: Deadline) -> _Extent:
    """Of columns that are grouped: as many players as there is time for on enough rows, then more rows and orders."""
    left = deadline.left
    for_search = _SHARE_OF_SEARCH * left
    splits = next(
        (each for each in _SPLITS if cost.of(_SEARCHED_ROWS, _SUBSETS_OF_SPLIT * each) <= for_search), _SPLITS[-1]
    )
    rest = left - for_search
    offered = [(min(num_rows, rows), players) for rows in _FEWEST_ROWS_OF_GROUPS for players in _PLAYERS]
    rows, players = next(
        ((rows, players) for rows, players in offered if cost.of(rows, _num_subsets(players, 0)) <= rest), offered[-1]
    )
    most = num_rows
    while most > rows and cost.of(most, _num_subsets(players, 0)) > rest:
        most = max(rows, most // 2)
    subsets = _MOST_SUBSETS
    while subsets > 1 and cost.of(most, _num_subsets(players, subsets)) > rest:
        subsets //= 2
    if most < num_rows:
        deadline.note("rows", f"column importance on more than {most:,} of {num_rows:,} rows")
    return _Extent(max_subsets=subsets, rows=most, players=players, splits=splits)


def _num_subsets(num_columns: int, max_subsets: int) -> int:
    return len(coalitions([str(i) for i in range(num_columns)], max_subsets=max_subsets).subsets)


def _note_groups(players: Sequence[Player], deadline: Deadline) -> None:
    groups = [player for player in players if player.is_group]
    if not groups:
        return
    together = sum(len(player.columns) for player in groups)
    total = sum(len(player.columns) for player in players)
    them = "one group" if len(groups) == 1 else f"{len(groups)} groups"
    deadline.note(
        "players",
        f"column importance of each of {together:,} of {total:,} columns by itself; they were measured together, as "
        f"{them}",
    )

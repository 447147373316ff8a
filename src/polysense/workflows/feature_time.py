"""Time for the features of frozen networks: a run that has too little for all training rows trains on a sample.

Features of a few rows are made and timed, and stay in the store. The others' are made in parts, with a look at the
clock after each, for the machine may become slower meanwhile. How many rows were trained on is kept in the run's
folder: once features are stored all rows would fit, and a run that is resumed must be the same run.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysense.core.json import read_json, write_json
from polysense.core.random import permutation
from polysense.data.batches.dataset import TableDataset
from polysense.training.time_plan import Deadline, held_out_that_fit, note_rows, rows_that_fit
from polysense.workflows.evaluating import fitted_processor
from polysense.workflows.time_owed import TEST_FEATURES

__all__ = [
    "NumRows", "keep_num_rows", "kept_num_rows", "part_of", "sampled", "seconds_of_features", "store_in_time",
]  # fmt: skip

_FILE = "training_rows.json"
_PROBED = 8  # rows that are timed
_PARTS = 10  # after each of which the clock is looked at


@dataclass(frozen=True, kw_only=True)
class NumRows:
    """How many rows a run has time for.

    Attributes:
        train: That are trained on.
        validation: That validate.
    """

    train: int = sys.maxsize
    validation: int = sys.maxsize


def sampled(train: TableDataset, number: int, seed: int) -> TableDataset:
    """A sample of so many rows; all where there are no more."""
    if number >= len(train):
        return train
    return part_of(train, np.sort(permutation(len(train), seed, "features")[:number]))


def part_of(dataset: TableDataset, chosen: np.ndarray) -> TableDataset:
    """Some rows of a data set, by their numbers."""
    return TableDataset(
        dataset.table.select(chosen),
        fitted_processor(dataset),
        with_features=dataset.with_features,
        cache_bytes=dataset.cache_bytes,
    )


def seconds_of_features(train: TableDataset, seed: int, store: Callable[[Sequence[TableDataset]], None]) -> float:
    """Of a row; about none where nothing is stored.

    Args:
        train: The training rows.
        seed: Of the rows that are timed.
        store: Makes the features of some rows and stores them.
    """
    chosen = permutation(len(train), seed, "features")[: 2 * _PROBED]
    parts = [
        TableDataset(train.table.select(np.sort(part)), fitted_processor(train)) for part in np.array_split(chosen, 2)
    ]
    times = []
    for part in (*parts, parts[1]):  # the first loads the network, the last finds what it looks for
        start = time.monotonic()
        store([part])
        times.append(time.monotonic() - start)
    return max(0.0, times[1] - times[2]) / max(len(parts[1]), 1)


def store_in_time(
    deadline: Deadline,
    num_train: int,
    num_validation: int,
    num_test: int,
    seconds_per_row: float,
    store: Callable[[np.ndarray], None],
    *,
    seed: int,
    views: int = 0,
) -> NumRows:
    """Stores the features of as many training rows as there is time for, and says how many those are.

    Args:
        deadline: When the run must be over; half of what is left is for features. What is left out is noted there, and
            the time of the test rows is kept.
        num_train: Training rows.
        num_validation: Validation rows, whose features are made next.
        num_test: Test rows, whose features are made at last.
        seconds_per_row: See `seconds_of_features`.
        store: Makes the features of some training rows and stores them, by their numbers.
        seed: Of the rows that are taken where there is no time for all.
        views: Augmented versions of each training row, which have features of their own.
    """
    until, held_out = deadline.part(0.5), num_validation + num_test
    kept = held_out_that_fit(deadline, seconds_per_row, held_out)
    number = rows_that_fit(deadline, seconds_per_row, num_train, kept, views=views)
    order, done, began = permutation(num_train, seed, "features"), 0, deadline.now()
    while done < number:
        store(np.sort(order[done : min(number, done + max(_PROBED, math.ceil(num_train / _PARTS)))]))
        done = min(number, done + max(_PROBED, math.ceil(num_train / _PARTS)))
        # What these rows have shown of the others, in place of what a few had.
        seconds_per_row = max((deadline.now() - began) / done, 1e-9)
        affordable = (int(until.left / seconds_per_row) - kept + done) // (1 + views)
        number = min(number, max(affordable, min(num_train, _PROBED)))
    if not views:  # what is there may be trained on
        number = done
    note_rows(deadline, number, num_train)
    validation = min(num_validation, math.ceil(num_validation * kept / max(held_out, 1)))
    missing = f"{num_validation - validation:,} of {num_validation:,} validation rows, which choose nothing"
    deadline.note("validation rows", missing if validation < num_validation else "")
    deadline.owe(TEST_FEATURES, seconds_per_row * num_test * kept / max(held_out, 1))
    return NumRows(train=number, validation=validation)


def keep_num_rows(folder: Path, number: NumRows) -> None:
    """Writes how many rows a run has time for."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _FILE, {"rows": number.train, "validation": number.validation})


def kept_num_rows(folder: Path) -> NumRows:
    """The rows of a run that was begun in too little time for all; else no limit."""
    path = folder / _FILE
    if not path.exists():
        return NumRows()
    kept = read_json(path, dict)
    return NumRows(train=int(kept["rows"]), validation=int(kept.get("validation", sys.maxsize)))

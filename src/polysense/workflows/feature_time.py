"""Time for the features of frozen networks: a run that has too little for all training rows trains on a sample.

Features of a few rows are made and timed, and stay in the store. How many rows were trained on is kept in the run's
folder: once features are stored all rows would fit, and a run that is resumed must be the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from polysense.core.json import read_json, write_json
from polysense.core.random import permutation
from polysense.data.batches.dataset import TableDataset
from polysense.workflows.evaluating import fitted_processor

__all__ = ["keep_num_rows", "kept_num_rows", "sampled", "seconds_of_features"]

_FILE = "training_rows.json"
_PROBED = 8  # rows that are timed


def sampled(train: TableDataset, number: int, seed: int) -> TableDataset:
    """A sample of so many rows; all where there are no more."""
    if number >= len(train):
        return train
    chosen = np.sort(permutation(len(train), seed, "features")[:number])
    return TableDataset(
        train.table.select(chosen),
        fitted_processor(train),
        with_features=train.with_features,
        cache_bytes=train.cache_bytes,
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


def keep_num_rows(folder: Path, number: int) -> None:
    """Writes how many training rows a run has time for."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _FILE, {"rows": number})


def kept_num_rows(folder: Path) -> int:
    """The training rows of a run that was begun in too little time for all; else no limit."""
    path = folder / _FILE
    return int(read_json(path, dict)["rows"]) if path.exists() else sys.maxsize

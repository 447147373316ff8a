"""A table's rows as samples, decoded when asked for.

Decoding costs far more than training on a small image, so what is decoded is kept as long as it fits into
`cache_bytes`: as it comes, in uint8, int16 and int32, a quarter of what floats would take. The cache changes nothing
but time. Where it holds the whole table, worker processes are of no use after the first epoch, and `choose_workers`
leaves them out: they cost start-up time, memory and a copy of each batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch.utils.data

from polysense.core.logs import get_logger
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.collate import FILLER
from polysense.data.media.time_limit import watched
from polysense.data.store.stored_column import StoredColumn
from polysense.data.tables.sources import Table

__all__ = ["ItemSource", "RowProcessor", "SampleSource", "TableDataset", "choose_workers", "free_memory", "row_number"]

_log = get_logger("polysense.data.batches.dataset")

# What Python itself takes for a cached sample (the object, its dictionaries) and for each of its arrays (array header,
# list), measured with tracemalloc.
_SAMPLE_OVERHEAD = 700
_ARRAY_OVERHEAD = 250

_PROBES = 16
_MAX_CACHE_BYTES = 2**30
_MAX_WORKERS = 8
# A batch of 64 costs about 1 ms to send from a worker, 16 us a row; preprocessing that is not much dearer stays here.
_CHEAP_SECONDS = 50e-6


@runtime_checkable
class RowProcessor(Protocol):
    """What a dataset needs of the fitted preprocessing."""

    @property
    def schema(self) -> Schema:
        """The columns and targets that samples have."""

    def prepared(self, table: Table) -> Table:
        """The table as `transform` reads it: with what fills its missing cells, where something does."""

    def transform(
        self, table: Table, i: int, *, with_targets: bool, stored: Mapping[str, StoredColumn] | None = None
    ) -> Sample:
        """The sample at a position of a prepared table; a cell that can't be read is absent in it."""

    def add_features(self, sample: Sample, table: Table, i: int) -> None:
        """Adds the feature vectors of its cells to the sample at a position."""


@runtime_checkable
class ItemSource(Protocol):
    """Things by position, which is all that processes that read ask for."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several at once."""


@runtime_checkable
class SampleSource(Protocol):
    """Samples by position, which is all that loaders ask of a data set.

    Attributes:
        with_targets: Whether samples have targets.
    """

    with_targets: bool

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Several samples at once."""


class TableDataset:
    """The rows of a table, preprocessed.

    Attributes:
        table: The rows, prepared. A sample's `row` is its position in this table.
        processor: The fitted preprocessing.
        with_targets: Whether samples have targets.
        with_features: Whether samples have their cells' feature vectors, where columns have any; may be set at any
            time. Training epochs of a network that reads none do not pay for them.
        cache_bytes: Memory for samples that are kept; may be set before the first sample is read. In worker processes
            each takes its share.
        stored: Per column what its frozen backbone gave for cells before, which samples then have in place of items;
            see `use_stored`.
    """

    def __init__(
        self,
        table: Table,
        processor: RowProcessor,
        *,
        with_targets: bool = True,
        with_features: bool = True,
        cache_bytes: int = 0,
        stored: Mapping[str, StoredColumn] | None = None,
    ) -> None:
        self.table = processor.prepared(table)  # here, and not in the processes that decode
        self.processor = processor
        self.with_targets = with_targets
        self.with_features = with_features
        self.cache_bytes = cache_bytes
        self.stored: Mapping[str, StoredColumn] = stored or {}
        self._cache: dict[int, Sample] = {}
        self._cached_bytes = 0
        self._whole: TableDataset | None = None
        self._places: Sequence[int] = ()

    @property
    def schema(self) -> Schema:
        """The columns and targets that samples have."""
        return self.processor.schema

    def use_stored(self, stored: Mapping[str, StoredColumn]) -> None:
        """Takes features from there from now on; samples that were kept are forgotten. None: decodes all cells."""
        if {name: column.name for name, column in stored.items()} != {n: c.name for n, c in self.stored.items()}:
            self._cache, self._cached_bytes, self._whole = {}, 0, None
        self.stored = dict(stored)

    def decoding(self, names: Collection[str]) -> TableDataset:
        """The same rows, of which these columns' cells are decoded although their features are stored."""
        other = copy(self)
        other._cache, other._cached_bytes, other._whole = {}, 0, None
        other.stored = {name: column for name, column in self.stored.items() if name not in names}
        return other

    def part(self, positions: np.ndarray, *, cache_bytes: int = 0) -> TableDataset:
        """Some of the rows as a data set of their own, which decodes none that is kept here.

        Args:
            positions: int64 [rows], of rows of this data set; its first row is that at the first position.
            cache_bytes: Memory for samples that it keeps itself.
        """
        part = TableDataset(
            self.table.select(positions),
            self.processor,
            with_targets=self.with_targets,
            with_features=self.with_features,
            cache_bytes=cache_bytes,
            stored=self.stored,
        )
        part._whole, part._places = self, positions.tolist()
        return part

    @property
    def cached_bytes(self) -> int:
        """Memory that the kept samples take."""
        return self._cached_bytes

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        """The sample at a position; `FILLER` gives a row that has nothing."""
        if index == FILLER:
            return Sample(row=FILLER, weight=0.0)
        sample = self._cache.get(index)
        if sample is None and self._whole is not None:
            kept = self._whole._cache.get(self._places[index])
            sample = None if kept is None else _in_new_shell(kept, index, with_features=self.with_features)
        if sample is None or (sample.features is None and self._makes_features):
            if sample is None:
                sample = self.processor.transform(self.table, index, with_targets=self.with_targets, stored=self.stored)
                sample.row = index
            elif index in self._cache:
                self._forget(index)
            if self._makes_features:
                self.processor.add_features(sample, self.table, index)
            if self.cache_bytes:
                self._keep(index, sample)
        if not self._cache:
            return sample
        # The kept sample is handed out in a new shell: whoever changes the shell does not change the cache.
        return _in_new_shell(sample, index, with_features=self.with_features)

    @property
    def _makes_features(self) -> bool:
        return self.with_features and any(column.num_features for column in self.schema)

    def _forget(self, index: int) -> None:
        self._cached_bytes -= sample_bytes(self._cache.pop(index))

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Several samples at once."""
        start, stop = (indices[0], indices[-1] + 1) if len(indices) else (0, 0)
        if start >= 0 and stop - start == len(indices) > 1 and list(indices) == list(range(start, stop)):
            self.table.read_ahead(start, stop)
        return watched(lambda: [self[index] for index in indices])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}, "_cached_bytes": 0, "_whole": None, "_places": ()}

    def _keep(self, index: int, sample: Sample) -> None:
        worker = torch.utils.data.get_worker_info()
        budget = self.cache_bytes // (worker.num_workers if worker else 1)
        size = sample_bytes(sample)
        if self._cached_bytes + size > budget:
            return
        for array in _arrays(sample):
            array.flags.writeable = False
        self._cache[index] = sample
        self._cached_bytes += size


def _in_new_shell(sample: Sample, row: int, *, with_features: bool) -> Sample:
    """The same values, in a sample that may be changed."""
    return Sample(
        row=row,
        values={name: list(items) for name, items in sample.values.items()},
        stored=dict(sample.stored),
        features=dict(sample.features) if with_features and sample.features is not None else None,
        placements=dict(sample.placements),
        targets=dict(sample.targets),
        prompts=dict(sample.prompts),
        trained=dict(sample.trained),
        weight=sample.weight,
        unreadable=sample.unreadable,
    )


def _arrays(sample: Sample) -> list[np.ndarray]:
    values = [item for items in sample.values.values() for item in items]
    others = (*sample.targets.values(), *sample.prompts.values(), *sample.trained.values())
    values += (sample.features or {}).values()
    values += [placement.matrix for placement in sample.placements.values()]
    return values + [result for result in others if isinstance(result, np.ndarray)]


def sample_bytes(sample: Sample) -> int:
    """About how much memory a kept sample takes."""
    arrays = _arrays(sample)
    return _SAMPLE_OVERHEAD + _ARRAY_OVERHEAD * len(arrays) + sum(_stored_bytes(array) for array in arrays)


def _stored_bytes(array: np.ndarray) -> int:
    # A view keeps the whole array alive that it looks into.
    return array.base.nbytes if isinstance(array.base, np.ndarray) else array.nbytes


def free_memory() -> int:
    """Bytes of memory that are free for this process, in the machine and in its control group.

    Where neither says (not Linux), a quarter of the installed memory, or 4 GiB if that is unknown too.
    """
    results = []
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        results.append(int(fields["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        try:
            results.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)
        except (AttributeError, OSError, ValueError):  # Windows has no sysconf
            results.append(4 * 2**30)
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        if limit != "max":
            results.append(max(0, int(limit) - int(used)))
    except (OSError, ValueError):
        pass  # no control group, or one of version 1
    return min(results)


def row_number(dataset: TableDataset | None, position: int) -> int:
    """The number, in the table as it was read, of the row at a position of a data set, which may be a part of it.

    Without the data set it is taken to be the whole table.
    """
    return position if dataset is None else int(dataset.table.rows[position])


def choose_workers(dataset: TableDataset, num_cpus: int, *, budget: int | None = None) -> tuple[int, int]:
    """Decides from 16 rows how a table is best read.

    A table whose preprocessed rows fit into the budget is cached and read in this process, for nothing is decoded
    after the first epoch. Else worker processes decode, unless there is one CPU only or decoding costs less than
    sending.

    Args:
        dataset: What is to be read; read at up to 16 positions spread over it.
        num_cpus: CPUs that this process may use.
        budget: Bytes for the cache; None: a quarter of the free memory, at most 1 GiB.

    Returns:
        (num_workers, cache_bytes).
    """
    if len(dataset) == 0:
        return 0, 0
    budget = min(_MAX_CACHE_BYTES, free_memory() // 4) if budget is None else budget
    positions = np.unique(np.linspace(0, len(dataset) - 1, _PROBES).astype(np.int64)).tolist()
    start = time.perf_counter()
    sizes = [sample_bytes(sample) for sample in dataset.__getitems__(positions)]
    seconds = (time.perf_counter() - start) / len(sizes)
    # With every row probed the size is exact; else a half more, for 16 rows say little about a long tail.
    exact = len(sizes) == len(dataset)
    estimate = sum(sizes) if exact else int(1.5 * len(dataset) * sum(sizes) / len(sizes))
    if estimate <= budget:
        chosen = 0, budget
    elif num_cpus <= 1 or seconds < _CHEAP_SECONDS:
        chosen = 0, 0
    else:
        chosen = min(num_cpus, _MAX_WORKERS), 0
    _log.debug(
        "%d rows, about %.0f MiB preprocessed (budget %.0f MiB), %.2f ms a row: %d workers, cache of %.0f MiB",
        len(dataset), estimate / 2**20, budget / 2**20, seconds * 1e3, chosen[0], chosen[1] / 2**20,
    )  # fmt: skip
    return chosen

"""Batches for training and for prediction.

Training wants speed: rows as the sampler says, padded to the longest item of their batch. How many processes read
them changes nothing: order and augmentation are functions of (seed, epoch, row), and a batch is collated from the
same samples wherever that happens.

Prediction wants more: row i depends on row i alone, bit for bit. Every batch of a level has exactly the same shape,
filled up with empty rows, so that the same kernels run over the same positions whoever the neighbors are; and a
row's level depends on its own lengths alone. The price is padding: at most twofold in length, and one batch per level
that may be mostly empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from polysense.core.batch import Batch
from polysense.core.json import JsonValue
from polysense.core.random import uniforms
from polysense.core.sample import Sample, Unreadable
from polysense.core.schema import Schema
from polysense.data.batching import Batching
from polysense.data.collate import collate
from polysense.data.dataset import TableDataset
from polysense.data.length_buckets import LengthBucket
from polysense.data.sampler import StepSampler
from polysense.data.workers import WorkerPool

__all__ = ["PREDICTION_BATCH_SIZE", "PredictLoader", "TrainLoader", "draw_references"]


L = TypeVar("L", bound="_Loader")


class _Loader:
    """What reads in worker processes, if any, until it is closed."""

    _pool: WorkerPool | None

    def close(self) -> None:
        """Ends the worker processes."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self: L) -> L:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TrainLoader(_Loader):
    """Shuffled batches of a table, epoch by epoch.

    Args:
        dataset: The rows.
        schema: Which columns and targets batches have.
        batch_size: Rows of a step, over all ranks and batches of a step together; `batching` may read it otherwise.
        seed: Decides the order, with the epoch, and which of several reference texts a row is trained on.
        num_workers: Processes that decode and collate; 0: this one does, when a batch is asked for.
        rank: Which of the `world_size` training processes this is.
        world_size: Training processes.
        pin_memory: Whether batches lie in page-locked memory, for a faster copy to a GPU.
        accumulate: Batches that each step is cut into.
        batching: Which rows make a step; None: `batch_size` of them, as they come.

    Attributes:
        unreadable: The cells that could not be read so far, by row and column.
    """

    def __init__(
        self,
        dataset: TableDataset,
        schema: Schema,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
        accumulate: int = 1,
        batching: Batching | None = None,
    ) -> None:
        self.sampler = StepSampler(
            len(dataset),
            batch_size,
            seed,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            batching=batching,
        )
        self.unreadable: dict[tuple[int, str], Unreadable] = {}
        self._dataset = dataset
        self._collate = partial(collate, schema=schema, with_targets=dataset.with_targets, all_references=True)
        self._pin_memory = pin_memory
        self._pool = WorkerPool(dataset, num_workers, self._collate, pin_memory=pin_memory) if num_workers > 0 else None

    def num_batches(self, epoch: int) -> int:
        """Batches of an epoch, the same on every rank."""
        return self.sampler.num_batches(epoch)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from one on. One epoch is read at a time.

        Raises:
            PolysenseError: A worker process died.
        """
        for batch in self._read(epoch, start_step):
            self.unreadable |= {(cell.source.row, cell.source.column): cell for cell in batch.unreadable}
            yield draw_references(batch, self.sampler.seed, epoch)

    def state(self) -> JsonValue:
        """What a checkpoint must remember: the cells that could not be read so far."""
        return [cell.as_dict() for _, cell in sorted(self.unreadable.items())]

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave."""
        cells = [Unreadable.from_dict(cell) for cell in state]
        self.unreadable = {(cell.source.row, cell.source.column): cell for cell in cells}

    def _read(self, epoch: int, start_step: int) -> Iterator[Batch]:
        lists = self.sampler.batches(epoch, start_step)
        if self._pool is not None:
            yield from self._pool.read(lists)
            return
        for indices in lists:
            batch = self._collate(self._dataset.__getitems__(indices))
            yield batch.pin_memory() if self._pin_memory else batch


def draw_references(batch: Batch, seed: int, epoch: int) -> Batch:
    """The batch with one reference in each row of each text target: a pure function of (seed, epoch, row).

    Drawn in the process that trains, since a worker process knows no epoch; so a run draws the same with 0 or 8
    workers, resumed or not, and in each epoch anew.

    Args:
        batch: As collated with `all_references`, in main memory.
        seed: Of the draws.
        epoch: From 0.
    """
    rows = batch.rows.numpy()
    truths = {
        name: truth.drawn(torch.from_numpy(uniforms(1, seed, epoch, rows, "reference", name)[:, 0]))
        for name, truth in batch.truths.items()
    }
    return replace(batch, truths=truths)


#: Rows of a batch at prediction, the same for one row and for a million: matrix libraries choose a kernel by shape, so
#: another number of rows gives other last bits. 32 because torch's vectorized loops compute the last elements of a
#: tensor that is not a multiple of 32 floats (two AVX-512 registers) with another routine than the others; in sigmoid,
#: SiLU, softplus, ELU and pow the two differ in the last bit. One row alone costs a batch of 32, a few milliseconds
#: for the models that are trained from scratch.
PREDICTION_BATCH_SIZE = 32

# From 8 times a typical row's size on, a row stands alone: 32 rows of an hour of speech would not fit into memory.
_OWN_BUCKET = 8


class PredictLoader(_Loader):
    """Batches whose shape is a function of each row's own level.

    `Batch.rows` are positions in the dataset, 0 to n - 1, and come in the order in which levels fill up: put results
    back by them, and leave out rows of -1. Every column that the table has is in every batch, whether or not a row
    has it. Memory stays bounded: at most a batch per level waits.

    Args:
        dataset: The rows.
        schema: Which columns and targets batches have.
        batch_size: Rows of every batch (1 for rows of 8 times the typical size or more). Not to be tuned per call:
            another size gives other last bits. Best a multiple of 32, see `PREDICTION_BATCH_SIZE`.
        num_workers: Processes that decode; 0: this one does.
        progress: Called with the rows that are done and the rows there are; what was given before is done when more is
            asked for.
    """

    def __init__(
        self,
        dataset: TableDataset,
        schema: Schema,
        batch_size: int = PREDICTION_BATCH_SIZE,
        num_workers: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        assert batch_size > 0, f"batch_size must be positive, is {batch_size}"
        self._dataset = dataset
        self._schema = schema
        self._columns = frozenset(column.name for column in schema if dataset.table.has(column.table_column))
        self._batch_size, self._progress = batch_size, progress
        self._pool = WorkerPool(dataset, num_workers, list) if num_workers > 0 else None

    @property
    def num_rows(self) -> int:
        """Rows that a pass over the loader gives, fillers not counted."""
        return len(self._dataset)

    def __iter__(self) -> Iterator[Batch]:
        done = 0
        for batch in self._batches():
            if self._progress is not None:
                self._progress(done, self.num_rows)
            yield batch
            done += int((batch.rows >= 0).sum())
        if self._progress is not None:
            self._progress(done, self.num_rows)

    def _batches(self) -> Iterator[Batch]:
        waiting: dict[LengthBucket, list[Sample]] = {}
        for sample in self._samples():
            level = LengthBucket.of(sample, self._schema)
            rows = waiting.setdefault(level, [])
            rows.append(sample)
            if len(rows) == self._rows_at(level):
                yield self._batch(level, waiting.pop(level))
        for level, rows in waiting.items():
            yield self._batch(level, rows)

    def _samples(self) -> Iterator[Sample]:
        starts = range(0, len(self._dataset), self._batch_size)
        lists = (list(range(start, min(start + self._batch_size, len(self._dataset)))) for start in starts)
        if self._pool is not None:
            for samples in self._pool.read(lists):
                yield from samples
        else:
            for indices in lists:
                yield from self._dataset.__getitems__(indices)

    def _rows_at(self, level: LengthBucket) -> int:
        return self._batch_size if level.growth(self._schema) < _OWN_BUCKET else 1

    def _batch(self, level: LengthBucket, samples: list[Sample]) -> Batch:
        shape = {name: size for name, size in level.shape(self._schema).items() if name in self._columns}
        return collate(
            samples,
            self._schema,
            with_targets=self._dataset.with_targets,
            shape=shape,
            prompts=level.prompts(self._schema),
            num_rows=self._rows_at(level),
        )

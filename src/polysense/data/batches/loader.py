"""Batches for training and for prediction.

Training wants speed: rows as the sampler says, padded to the longest item of their batch. How many processes read
them changes nothing: order and augmentation are functions of (seed, epoch, row), and a batch is collated from the
same samples wherever that happens.

Prediction wants more: row i depends on row i alone, bit for bit. Every block of a level has exactly the same shape,
filled up with empty rows (`data.batches.blocks`), so that the same kernels run over the same positions whoever the
neighbors are; and a row's level depends on its own lengths alone. The price is padding: at most twofold in length, and
one block per level that may be mostly empty.
"""

from __future__ import annotations

import itertools
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
from polysense.data.batches.batching import Batching
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.collate import collate
from polysense.data.batches.dataset import SampleSource, TableDataset
from polysense.data.batches.length_buckets import LengthBucket
from polysense.data.batches.partners import Partners
from polysense.data.batches.sampler import StepSampler
from polysense.data.batches.sampling import Sampler
from polysense.data.batches.workers import WorkerPool

__all__ = ["PredictLoader", "TrainLoader", "draw_references"]


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
        sampler: How often each row is drawn in an epoch; None: once.
        partners: What is read beside each row; None: nothing.

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
        sampler: Sampler | None = None,
        partners: Partners | None = None,
    ) -> None:
        self.sampler = StepSampler(
            len(dataset),
            batch_size,
            seed,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            batching=batching,
            sampler=sampler,
        )
        self.unreadable: dict[tuple[int, str], Unreadable] = {}
        self._dataset = dataset
        self._partners = partners
        self._collate = partial(collate, schema=schema, with_targets=dataset.with_targets, all_references=True)
        if partners is not None:
            self._collate = partial(partners.collated, self._collate)
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
        draws = self.sampler.draws(epoch, start_step) if self.sampler.repeats else itertools.repeat(None)
        for batch, numbers in zip(self._read(epoch, start_step), draws, strict=False):
            self.unreadable |= {(cell.source.row, cell.source.column): cell for cell in batch.unreadable}
            if numbers is not None:
                batch = replace(batch, draws=torch.tensor(numbers))
            if self._partners is not None:
                batch = self._partners.drawn(batch, epoch)
            yield draw_references(batch, self.sampler.seed, epoch)

    def state(self) -> JsonValue:
        """What a checkpoint must remember: the cells that could not be read so far."""
        return [cell.as_dict() for _, cell in sorted(self.unreadable.items())]

    def load_state(self, state: Any) -> None:
        """Takes up what `state` gave."""
        cells = [Unreadable.from_dict(cell) for cell in state]
        self.unreadable = {(cell.source.row, cell.source.column): cell for cell in cells}

    def _lists(self, epoch: int, start_step: int) -> Iterator[list[int]]:
        """The rows of each batch, with their partners after them."""
        if self._partners is None:
            yield from self.sampler.batches(epoch, start_step)
            return
        order = self.sampler.order(epoch)
        pairs = zip(self.sampler.batches(epoch, start_step), self.sampler.draws(epoch, start_step), strict=True)
        for rows, draws in pairs:
            yield rows + self._partners.chosen(order, rows, draws, epoch)

    def _read(self, epoch: int, start_step: int) -> Iterator[Batch]:
        lists = self._lists(epoch, start_step)
        if self._pool is not None:
            yield from self._pool.read(lists)
            return
        for indices in lists:
            batch = self._collate(self._dataset.__getitems__(indices))
            yield batch.pin_memory() if self._pin_memory else batch


def draw_references(batch: Batch, seed: int, epoch: int) -> Batch:
    """The batch with one reference in each row of each text target: a pure function of (seed, epoch, row, draw).

    Drawn in the process that trains, since a worker process knows no epoch; so a run draws the same with 0 or 8
    workers, resumed or not, and in each epoch anew.

    Args:
        batch: As collated with `all_references`, in main memory.
        seed: Of the draws.
        epoch: From 0.
    """
    rows = batch.coordinates()
    truths = {
        name: truth.drawn(torch.from_numpy(uniforms(1, seed, epoch, rows, "reference", name)[:, 0]))
        for name, truth in batch.truths.items()
    }
    return replace(batch, truths=truths)


_WAITING = 8
"""Blocks' worth of rows that wait for their blocks to fill; then the fullest is computed as it is."""


class PredictLoader(_Loader):
    """Blocks whose shape is a function of each row's own level.

    `Batch.rows` are positions in the dataset, 0 to n - 1, and come in the order in which levels fill up: put results
    back by them, and leave out rows of -1. A column that the table lacks is a column with every cell missing. Memory
    stays bounded: a few blocks' worth of rows wait.

    Args:
        dataset: The rows.
        schema: Which columns and targets batches have.
        batch_size: Rows that are read at once; no result depends on it.
        num_workers: Processes that decode; 0: this one does.
        progress: Called with the rows that are done and the rows there are; what was given before is done when more is
            asked for.
        prediction: The blocks; a bundle has its own. By default blocks of 32 rows, and exact.
        fillers: Whether rows fill a block that is not full; without them a row's last bits depend on what rows there
            are, which is all the same where these are always the same ones.
    """

    def __init__(
        self,
        dataset: SampleSource,
        schema: Schema,
        batch_size: int = 32,
        num_workers: int = 0,
        progress: Callable[[int, int], None] | None = None,
        *,
        prediction: PredictionConfig | None = None,
        fillers: bool = True,
    ) -> None:
        assert batch_size > 0, f"batch_size must be positive, is {batch_size}"
        self._fillers = fillers
        self._dataset = dataset
        self._schema = schema
        self._batch_size, self._progress = batch_size, progress
        self._prediction = PredictionConfig() if prediction is None else prediction
        self._pool = WorkerPool(dataset, num_workers, list) if num_workers > 0 else None

    @property
    def num_rows(self) -> int:
        """Rows that a pass over the loader gives, fillers not counted."""
        return len(self._dataset)

    def __iter__(self) -> Iterator[Batch]:
        done = 0
        for batch in self._blocks() if self._prediction.exact else self._as_they_come():
            if self._progress is not None:
                self._progress(done, self.num_rows)
            yield batch
            done += int((batch.rows >= 0).sum())
        if self._progress is not None:
            self._progress(done, self.num_rows)

    def _blocks(self) -> Iterator[Batch]:
        waiting: dict[LengthBucket, list[Sample]] = {}
        num_waiting = 0
        for sample in self._samples():
            level = LengthBucket.of(sample, self._schema)
            rows = waiting.setdefault(level, [])
            rows.append(sample)
            num_waiting += 1
            if len(rows) < self._rows_at(level):
                if num_waiting < _WAITING * self._prediction.block_size:
                    continue
                level = max(waiting, key=lambda each: len(waiting[each]))
            rows = waiting.pop(level)
            num_waiting -= len(rows)
            yield self._block(level, rows)
        for level, rows in waiting.items():
            yield self._block(level, rows)

    def _as_they_come(self) -> Iterator[Batch]:
        rows: list[Sample] = []
        for sample in self._samples():
            rows.append(sample)
            if len(rows) == self._prediction.block_size:
                yield self._collate(rows)
                rows = []
        if rows:
            yield self._collate(rows)

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
        return self._prediction.rows(level.growth(self._schema))

    def _collate(self, samples: list[Sample]) -> Batch:
        return collate(samples, self._schema, with_targets=self._dataset.with_targets)

    def _block(self, level: LengthBucket, samples: list[Sample]) -> Batch:
        return collate(
            samples,
            self._schema,
            with_targets=self._dataset.with_targets,
            shape=level.shape(self._schema),
            prompts=level.prompts(self._schema),
            num_rows=self._rows_at(level) if self._fillers else len(samples),
        )

from __future__ import annotations

import gc
import os
import signal
import time

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.random import generator
from polysense.core.sample import Sample, Unreadable
from polysense.core.schema import Schema
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.collate import FILLER
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader, TrainLoader
from polysense.data.batches.workers import WorkerPool
from polysense.data.tables.sources import Table, read_table
from polysense.errors import PolysenseError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.text.record import TextColumn
from polysense.tasks.classification.record import ClassificationTarget

SCHEMA = Schema(
    columns=(
        ImageColumn(name="photo", image_size=(12, 12), num_channels=1, mean=(0.5,), std=(0.3,)),
        AudioColumn(name="voice", sample_rate=8000, typical_length=1600),
        TextColumn(name="note", vocabulary_size=40, typical_length=16, multiple=True, max_items=2),
    ),
    targets=(ClassificationTarget(name="label", columns=("label",), classes=("a", "b", "c")),),
)
COLUMNS = {name: [] for name in SCHEMA.names}  # an empty table that has them


class FromNumbers:
    """Makes a row's content from a number in its cell: null is an empty row, -1 an unreadable one."""

    schema = SCHEMA

    def prepared(self, table: Table) -> Table:
        return table

    def transform(self, table: Table, i: int, *, with_targets: bool, stored: object = None) -> Sample:
        number = table.cell(i, "photo")
        sample = Sample(row=i)
        if number is None:
            return sample
        assert isinstance(number, int)
        if number < 0:
            sample.unreadable = (Unreadable(source=table.source(i, "photo"), reason="cut off"),)
            return sample
        draw = generator("row", number)
        present = draw.random(3) < 0.8
        lengths = (
            (1600 * 2 ** draw.normal(-0.5, 1.2, 1)).astype(int) + 1,
            (16 * 2 ** draw.normal(-0.5, 1.2, 3)).astype(int) + 1,
        )
        if present[0]:
            sample.values["photo"] = [draw.integers(0, 256, (1, 12, 12), dtype=np.uint8)]
        if present[1]:
            sample.values["voice"] = [draw.integers(-9000, 9000, lengths[0][0], dtype=np.int16)]
        if present[2]:
            sample.values["note"] = [draw.integers(0, 40, n, dtype=np.int32) for n in lengths[1][: draw.integers(1, 4)]]
        if with_targets:
            sample.targets["label"] = np.array(number % 3, dtype=np.int64)
        return sample

    def add_features(self, sample: Sample, table: Table, i: int) -> None:
        raise AssertionError


def dataset(numbers: list[int | None], **options: object) -> TableDataset:
    frame = pl.DataFrame({"photo": pl.Series(numbers, dtype=pl.Int64), "voice": numbers, "note": numbers}, strict=False)
    return TableDataset(read_table(frame), FromNumbers(), **options)  # type: ignore[arg-type]


def same(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.rows, other.rows)
        and torch.equal(one.weights, other.weights)
        and one.columns.keys() == other.columns.keys()
        and all(torch.equal(c.values, other.columns[n].values) for n, c in one.columns.items())
        and all(torch.equal(c.lengths, other.columns[n].lengths) for n, c in one.columns.items())
        and all(torch.equal(t.values, other.truths[n].values) for n, t in one.truths.items())
        and all(torch.equal(t.present, other.truths[n].present) for n, t in one.truths.items())
        and one.unreadable == other.unreadable
    )


def processes() -> set[int]:
    """This process' children."""
    with open(f"/proc/self/task/{os.getpid()}/children") as stream:  # noqa: PTH123 (a file of the kernel's)
        return {int(pid) for pid in stream.read().split()}


class TestTraining:
    def test_batches_are_the_same_whatever_reads_them(self) -> None:
        numbers: list[int | None] = [*range(40), None, -1, None]
        read: list[list[Batch]] = []
        before = torch.get_rng_state()
        for workers, cache in ((0, 0), (0, 10**8), (0, 60_000), (2, 0), (2, 10**8)):
            with TrainLoader(dataset(numbers, cache_bytes=cache), SCHEMA, 8, 3, num_workers=workers) as loader:
                assert loader.num_batches(0) == 6
                read.append([batch for epoch in range(2) for batch in loader.epoch(epoch)])
        assert torch.equal(torch.get_rng_state(), before), "the number of workers must not change a dropout mask"
        assert len(read[0]) == 12
        assert all(len(batches) == 12 for batches in read)
        assert all(same(one, other) for batches in read[1:] for one, other in zip(read[0], batches, strict=True))
        assert sorted(row for batch in read[0][:6] for row in batch.rows.tolist()) == list(range(43))
        assert sum(len(batch.unreadable) for batch in read[0]) == 2

    def test_an_epoch_can_be_left_and_entered_anywhere(self) -> None:
        with TrainLoader(dataset(list(range(50))), SCHEMA, 8, 3) as loader:
            whole = list(loader.epoch(4))
        with TrainLoader(dataset(list(range(50))), SCHEMA, 8, 3, num_workers=1) as loader:
            next(iter(loader.epoch(1)))  # left after one batch
            rest = list(loader.epoch(4, start_step=5))
        assert len(rest) == 2
        assert all(same(one, other) for one, other in zip(whole[5:], rest, strict=True))

    def test_ranks_share_each_step(self) -> None:
        def rows(rank: int, world_size: int) -> list[list[int]]:
            with TrainLoader(dataset(list(range(17))), SCHEMA, 8, 3, rank=rank, world_size=world_size) as loader:
                return [batch.rows.tolist() for batch in loader.epoch(0)]

        alone, first, second = rows(0, 1), rows(0, 2), rows(1, 2)
        assert [a[0::2] for a in alone] == first
        assert [a[1::2] or [FILLER] for a in alone] == second
        assert second[-1] == [FILLER]

    def test_closing_ends_the_workers(self) -> None:
        before = processes()
        with TrainLoader(dataset(list(range(40))), SCHEMA, 4, 0, num_workers=2) as loader:
            next(iter(loader.epoch(0)))
            assert len(processes() - before) == 2
        assert processes() <= before
        loader.close()  # once more does no harm

    def test_a_dead_worker_is_an_error_that_says_what_to_do(self) -> None:
        before = processes()
        handler = signal.getsignal(signal.SIGCHLD)
        loader = TrainLoader(dataset(list(range(4000))), SCHEMA, 4, 0, num_workers=2)
        batches = loader.epoch(0)
        next(batches)
        assert signal.getsignal(signal.SIGCHLD) is handler, "a handler would raise in the middle of a training step"
        victim = min(processes() - before)
        os.kill(victim, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(
            PolysenseError, match=rf"process that reads the table died .*{victim}.*num_workers"
        ) as error:
            list(batches)
        assert time.monotonic() - start < 30
        assert "--shm-size" in str(error.value)
        assert processes() <= before

    def test_a_death_during_a_collection_of_garbage_is_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a signal handler raises there, Python reports and drops."""
        before = processes()
        loader = TrainLoader(dataset(list(range(4000))), SCHEMA, 4, 0, num_workers=2)
        batches = loader.epoch(0)
        next(batches)
        victim = min(processes() - before)
        has_died = []

        def kill(phase: str, info: dict[str, int]) -> None:
            if not has_died:
                has_died.append(phase)
                os.kill(victim, signal.SIGKILL)
                time.sleep(0.5)  # the handler runs here

        dead = WorkerPool._dead

        def dead_after_a_collection(pool: WorkerPool, patience: float = 0.0) -> list[str]:
            ended = dead(pool, patience)
            if not has_died:  # the death comes between this look and the waiting
                gc.callbacks.append(kill)
                try:
                    gc.collect()
                finally:
                    gc.callbacks.remove(kill)
            return ended

        monkeypatch.setattr(WorkerPool, "_dead", dead_after_a_collection)
        start = time.monotonic()
        with pytest.raises(PolysenseError, match=rf"process that reads the table died .*{victim}"):
            list(batches)
        assert time.monotonic() - start < 30
        assert processes() <= before

    @pytest.mark.parametrize("sent", [0, 100_000])
    def test_a_worker_that_dies_while_sending_is_no_hang(self, sent: int) -> None:
        class Dying(FromNumbers):
            def prepared(self, table: Table) -> Table:
                return table

            def transform(self, table: Table, i: int, *, with_targets: bool, stored: object = None) -> Sample:
                if i == 40:
                    os.kill(os.getpid(), signal.SIGKILL)
                return Sample(row=i, values={"voice": [np.ones(1 + sent, dtype=np.int16)]})

        table = dataset(list(range(400))).table
        start = time.monotonic()
        with PredictLoader(TableDataset(table, Dying()), SCHEMA, 4, num_workers=2) as loader:
            with pytest.raises(PolysenseError, match="the table died"):
                list(loader)
        assert time.monotonic() - start < 30

    def test_an_error_in_a_worker_is_not_taken_for_its_death(self) -> None:
        class Broken(FromNumbers):
            def prepared(self, table: Table) -> Table:
                return table

            def transform(self, table: Table, i: int, *, with_targets: bool, stored: object = None) -> Sample:
                raise RuntimeError("a bug")

        broken = TableDataset(dataset([1, 2, 3]).table, Broken())
        with TrainLoader(broken, SCHEMA, 2, 0, num_workers=1) as loader, pytest.raises(RuntimeError, match="a bug"):
            list(loader.epoch(0))

    def test_forking_after_polars_worked_in_threads_does_not_hang(self) -> None:
        frame = pl.DataFrame({"photo": np.arange(200_000) % 50, "voice": 1, "note": 1})
        # A join and a sort run on polars' pool, whose locks a forked process would inherit.
        frame = frame.join(frame.group_by("photo").len(), on="photo").sort("len", "photo").drop("len")
        many = TableDataset(read_table(frame), FromNumbers())
        with TrainLoader(many, SCHEMA, 16, 0, num_workers=2) as loader:
            batches = loader.epoch(0)
            assert sum(len(next(batches)) for _ in range(20)) == 320


class TestPrediction:
    def test_each_row_comes_once_and_shapes_are_few(self) -> None:
        numbers: list[int | None] = [*range(90), None]
        with PredictLoader(dataset(numbers), SCHEMA) as loader:
            batches = list(loader)
            assert loader.num_rows == 91
        assert sorted(row for batch in batches for row in batch.rows.tolist() if row != FILLER) == list(range(91))
        shapes = {tuple((n, tuple(c.values.shape)) for n, c in batch.columns.items()) for batch in batches}
        assert len(shapes) < len(batches) or len(batches) < 10
        assert {len(batch) for batch in batches} <= {PredictionConfig().block_size, 1}
        assert all(set(batch.columns) == set(SCHEMA.names) for batch in batches)

    def test_a_column_that_the_table_lacks_is_one_with_every_cell_missing(self) -> None:
        table = read_table({"photo": [None, None], "note": [1, 2]})
        (batch,) = PredictLoader(TableDataset(table, FromNumbers()), SCHEMA)
        for column in SCHEMA:
            absent = batch.columns[column.name]
            assert not absent.present.any()
            assert absent.values.shape[:2] == absent.lengths.shape == (32, column.max_items)

    def test_workers_change_nothing(self) -> None:
        numbers: list[int | None] = [*range(70), -1, None]
        with PredictLoader(dataset(numbers), SCHEMA, num_workers=2) as loader:
            assert all(
                same(one, other) for one, other in zip(loader, PredictLoader(dataset(numbers), SCHEMA), strict=True)
            )

    def test_targets_come_along_where_the_dataset_has_them(self) -> None:
        assert all(b.truths for b in PredictLoader(dataset([1, 2]), SCHEMA))
        assert not any(b.truths for b in PredictLoader(dataset([1, 2], with_targets=False), SCHEMA))

    def test_a_huge_row_stands_alone(self) -> None:
        class Long(FromNumbers):
            def prepared(self, table: Table) -> Table:
                return table

            def transform(self, table: Table, i: int, *, with_targets: bool, stored: object = None) -> Sample:
                return Sample(row=i, values={"voice": [np.ones(1600 * (8 if i == 1 else 1), dtype=np.int16)]})

        batches = list(PredictLoader(TableDataset(dataset([1, 2, 3]).table, Long()), SCHEMA))
        assert sorted((len(b), int((b.rows != FILLER).sum())) for b in batches) == [(1, 1), (32, 2)]

    def test_an_empty_table_gives_no_batch(self) -> None:
        assert list(PredictLoader(TableDataset(read_table(pl.DataFrame(COLUMNS)), FromNumbers()), SCHEMA)) == []


class Model(nn.Module):
    """Convolution, normalization, attention, a gate and linear layers: the operations that models are made of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.GroupNorm(4, 16),
            nn.GELU(),
            nn.Conv2d(16, 48, 3, stride=2),
            nn.BatchNorm2d(48),
        )
        self.audio = nn.Conv1d(1, 48, 80, stride=40)
        self.text = nn.Embedding(40, 48)
        self.norm, self.qkv, self.mix = nn.LayerNorm(48), nn.Linear(48, 144), nn.Linear(48, 48)
        self.gate, self.head = nn.Linear(48, 48), nn.Linear(48, 3)

    def forward(self, batch: Batch) -> Tensor:
        photo, voice, note = (batch.columns[name] for name in ("photo", "voice", "note"))
        image = self.image(photo.values[:, 0].float() / 255 - 0.5).flatten(2).mean(dim=2)[:, None]
        inside = torch.arange(voice.values.shape[2]) < voice.lengths
        audio = self.audio((voice.values[:, 0] * inside).float()[:, None] / 32768).transpose(1, 2)
        frames = torch.arange(audio.shape[1]) * 40 < voice.lengths
        words = torch.arange(note.values.shape[2]) < note.lengths[..., None]
        tokens = torch.cat([image, audio, self.text(note.values.long()).flatten(1, 2)], dim=1)
        mask = torch.cat([photo.present[:, None], frames, words.flatten(1)], dim=1)
        mask = mask | ~mask.any(dim=1, keepdim=True)
        q, k, v = (x.unflatten(-1, (4, 12)).transpose(1, 2) for x in self.qkv(self.norm(tokens)).chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)
        pooled = torch.einsum("bld,bl->bd", tokens + self.mix(attended), mask.float()) / mask.sum(1, keepdim=True)
        return self.head(torch.sigmoid(self.gate(pooled)) * F.silu(pooled)).softmax(dim=-1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return Model().eval()


@torch.inference_mode()
def predict(model: nn.Module, numbers: list[int | None]) -> Tensor:
    results = torch.full((len(numbers), 3), torch.nan)
    for batch in PredictLoader(dataset(numbers, with_targets=False), SCHEMA):
        real = batch.rows != FILLER
        results[batch.rows[real]] = model(batch)[real]
    assert not results.isnan().any()
    return results


NUMBERS: list[int | None] = list(range(75))


@pytest.fixture(scope="module")
def reference(model: nn.Module) -> Tensor:
    return predict(model, NUMBERS)


@settings(max_examples=12)
@given(data=st.data())
def test_row_i_depends_on_row_i_alone(data: st.DataObject, model: nn.Module, reference: Tensor) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(75)), min_size=1, max_size=75))  # deleted, repeated, reordered
    broken = data.draw(st.sets(st.sampled_from(range(len(chosen)))))
    numbers = [data.draw(st.sampled_from([None, -1])) if i in broken else n for i, n in enumerate(chosen)]
    found = predict(model, numbers)
    retained = [i for i in range(len(chosen)) if i not in broken]
    assert torch.equal(found[retained], reference[[chosen[i] for i in retained]])


def test_one_row_alone_is_the_row_among_others(model: nn.Module, reference: Tensor) -> None:
    assert all(torch.equal(predict(model, [n])[0], reference[n]) for n in range(0, 75, 15))

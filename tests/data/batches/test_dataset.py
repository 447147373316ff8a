from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.collate import FILLER
from polysense.data.batches.dataset import TableDataset, choose_workers, free_memory, sample_bytes
from polysense.data.tables.sources import Table, read_table
from polysense.modalities.audio.record import AudioColumn
from polysense.tasks.classification.record import ClassificationTarget


class Counting:
    """A preprocessing that counts its calls; `size` bytes of audio per row."""

    schema = Schema(
        columns=(AudioColumn(name="voice", sample_rate=8000),),
        targets=(ClassificationTarget(name="label", columns=("label",), classes=("a", "b")),),
    )

    def __init__(self, size: int = 2000) -> None:
        self.size = size
        self.calls: list[int] = []

    def prepared(self, table: Table) -> Table:
        return table

    def transform(self, table: Table, i: int, *, with_targets: bool, stored: object = None) -> Sample:
        self.calls.append(i)
        cell = table.cell(i, "number")
        targets = {"label": np.array(i % 2, dtype=np.int64)} if with_targets else {}
        return Sample(row=i, values={"voice": [np.full(self.size // 2, cell, dtype=np.int16)]}, targets=targets)

    def add_features(self, sample: Sample, table: Table, i: int) -> None:
        raise AssertionError


def table(num_rows: int) -> Table:
    return read_table({"number": list(range(100, 100 + num_rows))})


def test_samples_are_positions_of_the_table() -> None:
    dataset = TableDataset(table(9).select([7, 3, 5]), Counting())
    assert len(dataset) == 3
    samples = dataset.__getitems__([2, 0])
    assert [sample.row for sample in samples] == [2, 0]
    assert [int(sample.values["voice"][0][0]) for sample in samples] == [105, 107]
    assert "label" in samples[0].targets
    assert TableDataset(table(2), Counting(), with_targets=False)[0].targets == {}


def test_a_filler_row_has_nothing() -> None:
    processor = Counting()
    assert TableDataset(table(2), processor, cache_bytes=10**6)[FILLER] == Sample(row=FILLER, weight=0.0)
    assert processor.calls == []


def test_the_cache_decodes_once_and_is_never_wrong() -> None:
    cached, plain = Counting(), Counting()
    with_cache, without = TableDataset(table(5), cached, cache_bytes=10**6), TableDataset(table(5), plain)
    for _ in range(3):
        for position in (0, 4, 2, 2, 1, 3):
            one, other = with_cache[position], without[position]
            assert one.row == other.row
            assert np.array_equal(one.values["voice"][0], other.values["voice"][0])
            assert np.array_equal(one.targets["label"], other.targets["label"])
    assert sorted(cached.calls) == [0, 1, 2, 3, 4]
    assert len(plain.calls) == 18


def test_a_full_cache_stops_growing_and_still_reads() -> None:
    processor = Counting(size=2000)
    budget = 3 * sample_bytes(processor.transform(table(1), 0, with_targets=True)) + 10
    dataset = TableDataset(table(8), processor, cache_bytes=budget)
    for _ in range(2):
        assert [int(sample.values["voice"][0][0]) for sample in dataset.__getitems__(range(8))] == list(range(100, 108))
    assert 6000 < dataset.cached_bytes <= budget
    assert len(processor.calls) == 1 + 8 + 5


def test_nobody_can_change_what_is_cached() -> None:
    dataset = TableDataset(table(2), Counting(), cache_bytes=10**6)
    first = dataset[0]
    with pytest.raises(ValueError, match="read-only"):
        first.values["voice"][0][0] = 1
    first.values["voice"].clear()
    first.values["other"] = []
    first.targets.clear()
    first.row = 77
    again = dataset[0]
    assert again.row == 0
    assert set(again.values) == {"voice"}
    assert again.values["voice"][0][0] == 100
    assert set(again.targets) == {"label"}


def test_pickling_leaves_the_cache_behind() -> None:
    dataset = TableDataset(table(50), Counting(size=20_000), cache_bytes=10**7)
    dataset.__getitems__(range(50))
    assert dataset.cached_bytes > 10**6
    data = pickle.dumps(dataset)
    assert len(data) < 20_000
    copy = pickle.loads(data)
    assert copy.cached_bytes == 0
    assert copy[3].values["voice"][0][0] == 103


def test_a_view_counts_as_the_array_that_it_keeps_alive() -> None:
    whole = np.zeros(10**6, dtype=np.int16)
    assert sample_bytes(Sample(row=0, values={"voice": [whole[:10]]})) > 2 * 10**6


def test_small_tables_are_cached_and_read_here() -> None:
    assert choose_workers(TableDataset(table(30), Counting()), 8, budget=10**6) == (0, 10**6)
    assert choose_workers(TableDataset(table(0), Counting()), 8) == (0, 0)


def test_a_few_rows_are_measured_exactly() -> None:
    processor = Counting()
    need = 10 * sample_bytes(processor.transform(table(1), 0, with_targets=True))
    dataset = TableDataset(table(10), processor)
    assert choose_workers(dataset, 1, budget=need) == (0, need)
    assert choose_workers(dataset, 1, budget=need - 1) == (0, 0)


def test_large_tables_get_workers_where_decoding_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("polysense.data.batches.dataset.time.perf_counter", lambda: next(ticks) * 0.1)  # 6 ms a row
    processor = Counting()
    dataset = TableDataset(table(3000), processor)
    assert choose_workers(dataset, 4, budget=10**6) == (4, 0)
    assert len(processor.calls) == 16
    assert processor.calls[0] == 0
    assert processor.calls[-1] == 2999
    assert choose_workers(dataset, 64, budget=10**6) == (8, 0)
    assert choose_workers(dataset, 1, budget=10**6) == (0, 0)


def test_cheap_rows_are_not_sent_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.data.batches.dataset.time.perf_counter", lambda: 1.0)
    assert choose_workers(TableDataset(table(3000), Counting()), 4, budget=10**6) == (0, 0)


def test_free_memory_obeys_the_control_group(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000\n",
        "/sys/fs/cgroup/memory.current": "1000000\n",
    }

    def read(path: Path, encoding: str) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert free_memory() == 2_000_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert free_memory() == 4_096_000
    files.clear()
    assert free_memory() > 0

"""Batches by tokens and by length: every row once, within the budget, the same for any number of workers and ranks."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.item_groups import groups_of_items
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.batching import RowBatchingConfig, TokenBatchingConfig
from polysense.data.batches.collate import FILLER, collate
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import TrainLoader
from polysense.data.batches.sampler import StepSampler
from polysense.data.batches.token_counts import RowLengths, count_tokens, row_lengths
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.text.column import TextColumnConfig
from polysense.tasks.generation.target import GenerationTargetConfig

BATCHINGS = [
    RowBatchingConfig(group_by_length=True, pool=3),
    TokenBatchingConfig(max_tokens=200, pool=4),
    TokenBatchingConfig(pool=50),
]


def lengths_of(cells: list[list[tuple[int, int]]]) -> RowLengths:
    pairs = np.array(cells, dtype=np.int64).reshape(len(cells), -1, 2)
    return RowLengths(pairs[:, :, 0], pairs[:, :, 1])


# Two columns: a text of one item, and a list of up to 4 texts; absent ones have no items.
cells = st.tuples(
    st.one_of(st.just((0, 0)), st.tuples(st.just(1), st.integers(1, 100))),
    st.one_of(st.just((0, 0)), st.tuples(st.integers(1, 4), st.integers(1, 30))),
)
tables = st.lists(cells, min_size=1, max_size=80).map(lengths_of)
common = {
    "lengths": tables,
    "batching": st.sampled_from(BATCHINGS),
    "batch_size": st.integers(1, 12),
    "seed": st.integers(0, 2**63),
    "epoch": st.integers(0, 100),
    "accumulate": st.integers(1, 3),
}


def sampler(
    lengths: RowLengths, batching: RowBatchingConfig | TokenBatchingConfig, batch_size: int, seed: int, **more: int
) -> StepSampler:
    built = batching.build(batch_size, lengths)
    return StepSampler(len(lengths), batch_size, seed, batching=built, **more)


@given(**common)
def test_every_row_once_and_within_the_budget(
    lengths: RowLengths,
    batching: RowBatchingConfig | TokenBatchingConfig,
    batch_size: int,
    seed: int,
    epoch: int,
    accumulate: int,
) -> None:
    one = sampler(lengths, batching, batch_size, seed, accumulate=accumulate)
    batches = list(one.batches(epoch))
    assert len(batches) == one.num_batches(epoch) == accumulate * len(one.steps(epoch))
    assert sorted(row for batch in batches for row in batch if row != FILLER) == list(range(len(lengths)))
    assert all(batch == [FILLER] or FILLER not in batch for batch in batches)
    steps = [
        [row for batch in batches[start : start + accumulate] for row in batch if row != FILLER]
        for start in range(0, len(batches), accumulate)
    ]
    assert all(steps)
    if isinstance(batching, RowBatchingConfig):
        sizes = Counter(map(len, steps))
        assert sum(sizes.values()) == -(-len(lengths) // batch_size)
        assert sizes[batch_size] >= len(steps) - 1
        return
    budget = batching.max_tokens
    if budget == "auto":
        budget = max(1, round(batch_size * lengths.total.mean()))
    for step in steps:
        assert len(step) == 1 or lengths.padded(np.array(step)) <= budget


@given(world_size=st.integers(1, 4), start=st.integers(0, 90), **common)
def test_ranks_share_each_batch_and_an_epoch_can_be_entered_anywhere(
    world_size: int,
    start: int,
    lengths: RowLengths,
    batching: RowBatchingConfig | TokenBatchingConfig,
    batch_size: int,
    seed: int,
    epoch: int,
    accumulate: int,
) -> None:
    alone = sampler(lengths, batching, batch_size, seed, accumulate=accumulate)
    whole = list(alone.batches(epoch))
    list(alone.batches(epoch + 1))  # what was asked for before changes nothing
    assert list(alone.batches(epoch, start)) == whole[start:]
    ranks = [
        list(
            sampler(
                lengths, batching, batch_size, seed, accumulate=accumulate, rank=rank, world_size=world_size
            ).batches(epoch)
        )
        for rank in range(world_size)
    ]
    for index, batch in enumerate(whole):
        shares = [rank[index] for rank in ranks]
        assert Counter(row for share in shares for row in share if row != FILLER) == Counter(set(batch) - {FILLER})
    assert {len(rank) for rank in ranks} == {len(whole)}


@pytest.mark.parametrize("batching", BATCHINGS)
def test_epochs_differ_in_who_is_together(batching: RowBatchingConfig | TokenBatchingConfig) -> None:
    draw = np.random.default_rng(0)
    lengths = RowLengths(np.ones((400, 1), dtype=np.int64), draw.integers(1, 60, (400, 1)))
    one = sampler(lengths, batching, 16, 0)
    first, second = ([frozenset(step.tolist()) for step in one.steps(epoch)] for epoch in (0, 1))
    assert len(set(first) & set(second)) <= len(first) / 10
    assert [frozenset(step.tolist()) for step in sampler(lengths, batching, 16, 0).steps(0)] == first
    longest = [int(lengths.longest[list(step)].max()) for step in first]
    assert longest != sorted(longest), "short batches first would be a curriculum that nobody asked for"


def test_grouping_saves_padding() -> None:
    draw = np.random.default_rng(0)
    lengths = RowLengths(np.ones((5000, 1), dtype=np.int64), np.exp(draw.normal(3, 0.8, (5000, 1))).astype(int) + 1)

    def share(batching: RowBatchingConfig | TokenBatchingConfig) -> float:
        steps = sampler(lengths, batching, 32, 0).steps(0)
        return 1 - lengths.total.sum() / sum(lengths.padded(step) for step in steps)

    assert share(RowBatchingConfig()) > 0.6
    assert share(RowBatchingConfig(group_by_length=True)) < 0.15
    assert share(TokenBatchingConfig()) < 0.1


def test_a_row_beyond_the_budget_stands_alone_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    lengths = lengths_of([[(1, 5)], [(1, 500)], [(1, 6)], [(1, 90)], [(0, 0)]])
    with caplog.at_level(logging.WARNING, "polysense"):
        one = sampler(lengths, TokenBatchingConfig(max_tokens=20), 4, 0)
        for epoch in range(3):
            assert {frozenset(step.tolist()) for step in one.steps(epoch)} >= {frozenset([1]), frozenset([3])}
    assert len(caplog.records) == 1
    assert "2 of 5 training rows are longer than max_tokens=20" in caplog.text
    assert "row 1 of the training split, of 500 tokens" in caplog.text


@pytest.mark.parametrize("bad", [{"max_tokens": 0}, {"pool": 0}])
def test_what_can_not_be_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(bad))} must be at least 1"):
        TokenBatchingConfig(**bad)  # type: ignore[arg-type]


# --- lengths of a table ------------------------------------------------------------------------------------------


WORDS = ["ein", "Haus", "am", "See", "mit", "rotem", "Dach", "und", "Garten"]


def table_and_processor(num_rows: int = 60) -> tuple[TableDataset, Processor]:
    draw = np.random.default_rng(1)

    def text(most: int) -> str:
        return " ".join(draw.choice(WORDS, draw.integers(1, most)))

    frame = pl.DataFrame(
        {
            "note": [None if row % 7 == 0 else text(40) for row in range(num_rows)],
            "turns": [[text(8) for _ in range(draw.integers(0, 4))] for _ in range(num_rows)],
            "size": [float(row) if row % 3 else None for row in range(num_rows)],
            "reply": [None if row % 11 == 0 else [text(12), text(12)] for row in range(num_rows)],
        }
    )
    table = read_table(frame)
    config = DataConfig(
        columns={"note": TextColumnConfig(max_tokens=30), "turns": TextColumnConfig(), "size": NumberColumnConfig()},
        targets={"reply": GenerationTargetConfig(tokens="words")},
    )
    processor = Processor.fit(table, config)
    return TableDataset(table, processor), processor


def test_lengths_are_those_of_the_collated_batch() -> None:
    dataset, processor = table_and_processor()
    lengths = row_lengths(dataset.table, processor.columns, processor.targets)
    schema: Schema = processor.schema
    rows = np.arange(len(dataset))
    with TrainLoader(dataset, schema, len(dataset), 0) as loader:
        batch = next(iter(loader.epoch(0)))
    note, turns = batch.columns["note"], batch.columns["turns"]
    assert lengths.longest[:, 0].max() == note.values.shape[2]
    assert lengths.items[:, 1].max() == turns.values.shape[1]
    assert lengths.longest[:, 1].max() == turns.values.shape[2]
    assert (lengths.items[batch.rows.numpy(), 1] == (turns.lengths > 0).sum(dim=1).numpy()).all()
    reply = batch.truths["reply"]
    assert reply.lengths is not None
    assert (lengths.longest[batch.rows.numpy(), 3] >= reply.lengths.numpy()).all(), "of references, the longest"
    assert lengths.padded(rows) >= note.values.numel() + turns.values.numel() + reply.values.numel() + len(rows)

    count = count_tokens(batch, schema)
    assert count.inputs == note.lengths.sum() + turns.lengths.sum()
    assert count.targets == (reply.lengths - 1).clamp(min=0).sum()
    encoded = 0
    for column in (note, turns):
        groups = groups_of_items(column.lengths.flatten(), column.values.shape[2], 8)
        encoded += sum(len(group.items) * group.length for group in groups)
    assert count.padded == encoded + reply.values.numel()
    assert encoded < note.values.numel() + turns.values.numel(), "absent items are not encoded"
    assert count.valid == count.inputs + reply.lengths.sum()


def test_estimates_are_near_the_lengths() -> None:
    dataset, processor = table_and_processor(200)
    exact = row_lengths(dataset.table, processor.columns, processor.targets).total
    estimated = row_lengths(dataset.table, processor.columns, processor.targets, tokenized_rows=10).total
    assert np.corrcoef(exact, estimated)[0, 1] > 0.95
    assert estimated.sum() == pytest.approx(exact.sum(), rel=0.1)


def test_batches_by_tokens_are_the_same_whatever_reads_them() -> None:
    dataset, processor = table_and_processor()
    lengths = row_lengths(dataset.table, processor.columns, processor.targets)
    read = []
    for workers in (0, 2):
        built = TokenBatchingConfig(max_tokens=600).build(8, lengths)
        with TrainLoader(dataset, processor.schema, 8, 3, num_workers=workers, batching=built, accumulate=2) as loader:
            read.append([batch for epoch in range(2) for batch in loader.epoch(epoch)])
            assert len(read[-1]) == loader.num_batches(0) + loader.num_batches(1)
    for one, other in zip(*read, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
        assert one.columns.keys() == other.columns.keys()
        assert all((c.values == other.columns[n].values).all() for n, c in one.columns.items())
        assert (one.truths["reply"].values == other.truths["reply"].values).all()


def test_a_filler_row_counts_as_nothing() -> None:
    _, processor = table_and_processor()
    empty = collate([Sample(row=FILLER, weight=0.0)], processor.schema)
    count = count_tokens(empty, processor.schema)
    assert (count.inputs, count.targets, count.valid) == (0, 0, 0)

"""Mixup's draws: partners and shares are functions of (seed, epoch, row), whatever reads the rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from polysense.core.batch import Batch
from polysense.core.schema import Schema
from polysense.data.batches.batching import RowBatchingConfig
from polysense.data.batches.collate import FILLER
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import TrainLoader
from polysense.data.batches.mixing import Mixup, _boxes
from polysense.data.batches.sampling import ClassSampler, RowClasses
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.modalities.number.column import NumberColumnConfig
from polysense.tasks.classification.target import ClassificationTargetConfig

ROWS = 45


def rare_rows() -> TableDataset:
    """Rows of one class in nine, whose number is their position; every seventh number is missing."""
    table = read_table(
        {
            "x": [None if i % 7 == 0 else float(i) for i in range(ROWS)],
            "y": ["rare" if i % 9 == 0 else "common" for i in range(ROWS)],
        }
    )
    config = DataConfig(columns={"x": NumberColumnConfig()}, targets={"y": ClassificationTargetConfig()})
    return TableDataset(table, Processor.fit(table, config))


@pytest.fixture(scope="module")
def dataset() -> TableDataset:
    return rare_rows()


def by_row(batches: list[Batch]) -> dict[tuple[int, int], tuple[int, float, bool, float]]:
    """Per row and draw its partner, share, presence, and the partner's number; fillers are left out."""
    result = {}
    for batch in batches:
        mixed = batch.mixed
        assert mixed is not None
        draws = torch.zeros_like(batch.rows) if batch.draws is None else batch.draws
        numbers = mixed.batch.columns["x"].values[:, 0, 0] * mixed.batch.columns["x"].present
        for i, key in enumerate(zip(batch.rows.tolist(), draws.tolist(), strict=True)):
            if key[0] == FILLER:
                assert mixed.batch.rows[i] == FILLER
                continue
            assert key not in result
            result[key] = (
                int(mixed.batch.rows[i]), float(mixed.share[i]), bool(mixed.own_presence[i]), float(numbers[i])
            )  # fmt: skip
    return result


def sampler() -> ClassSampler:
    ids = np.array([int(i % 9 == 0) for i in range(ROWS)])
    return ClassSampler(RowClasses(["common", "rare"], ids, np.ones(ROWS, dtype=np.int64), ids >= 0), 0.0)


@pytest.mark.parametrize("balanced", [False, True])
def test_nothing_but_seed_epoch_and_row_decides(dataset: TableDataset, balanced: bool) -> None:
    schema: Schema = dataset.schema

    def read(start: int = 0, **options: int) -> list[Batch]:
        with TrainLoader(
            dataset, schema, 8, 3, partners=Mixup(0.4, 3), sampler=sampler() if balanced else None, **options
        ) as loader:  # type: ignore[arg-type]
            return list(loader.epoch(2, start))

    whole = by_row(read())
    assert len(whole) == ROWS
    assert by_row(read(num_workers=2)) == whole
    assert by_row(read(accumulate=4)) == whole
    ranks = [by_row(read(rank=rank, world_size=3)) for rank in range(3)]
    assert {key: value for rank in ranks for key, value in rank.items()} == whole
    assert by_row(read(4)) == by_row(read()[4:])
    with TrainLoader(
        dataset, schema, 45, 3, partners=Mixup(0.4, 3), sampler=sampler() if balanced else None,
        batching=RowBatchingConfig().build(45),
    ) as loader:  # fmt: skip
        assert by_row(list(loader.epoch(2))) == whole  # not even how many rows a batch has
        assert by_row(list(loader.epoch(3))) != whole


def test_partners_are_rows_of_the_table_with_their_own_cells(dataset: TableDataset) -> None:
    with TrainLoader(dataset, dataset.schema, 8, 0, partners=Mixup(1.0, 0)) as loader:
        batches = list(loader.epoch(0))
    pairs, own = by_row(batches), {}
    for batch in batches:
        own |= dict(zip(batch.rows.tolist(), batch.columns["x"].values[:, 0, 0].tolist(), strict=True))
    for partner, _, _, number in pairs.values():
        assert number == (0.0 if partner % 7 == 0 else own[partner])
    assert len({partner for partner, *_ in pairs.values()}) > ROWS / 3


def test_partners_come_as_the_sampler_draws_and_shares_from_the_beta_distribution() -> None:
    mixup, order = Mixup(0.4, seed=5), sampler().order(5, 0)
    rows = np.arange(20_000)
    partners = mixup.chosen(order, rows.tolist(), [0] * len(rows), 0)
    assert np.mean([partner % 9 == 0 for partner in partners]) == pytest.approx(0.5, abs=0.03)
    uniform = Counter(mixup.chosen(np.arange(10), rows.tolist(), [0] * len(rows), 0))
    assert stats.chisquare([uniform[i] for i in range(10)]).pvalue > 0.001

    def batch() -> Batch:
        from polysense.core.batch import MixedRows

        partner = Batch(rows=torch.tensor(partners), columns={})
        ones = torch.ones(len(rows))
        return Batch(
            rows=torch.from_numpy(rows),
            columns={},
            mixed=MixedRows(batch=partner, share=ones, own_presence=ones > 0),
        )

    mixed = mixup.drawn(batch(), 0).mixed
    assert mixed is not None
    assert stats.kstest(mixed.share.double().numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 0.001
    # A mixture has the row's own cells as often as its share says.
    assert float((mixed.own_presence.float() - mixed.share).mean().abs()) < 0.01
    assert float(mixed.own_presence[mixed.share > 0.9].float().mean()) > 0.9
    # Its partner's cells are varied by themselves, unlike where the partner is trained on.
    assert mixed.batch.draws is not None
    assert int(mixed.batch.draws.min()) > 1000


def test_unreadable_cells_of_partners_are_listed() -> None:
    table = read_table({"x": ["1", "2", "3.5 or so", *map(str, range(37))], "y": ["a", "b"] * 20})
    config = DataConfig(columns={"x": NumberColumnConfig()}, targets={"y": ClassificationTargetConfig()})
    dataset = TableDataset(table, Processor.fit(table, config))
    for epoch in range(20):
        with TrainLoader(dataset, dataset.schema, 4, 0, partners=Mixup(1.0, 0)) as loader:
            for batch in loader.epoch(epoch):
                assert batch.mixed is not None
                if 2 in batch.rows:
                    break
                if 2 in batch.mixed.batch.rows:
                    assert loader.unreadable.keys() == {(2, "x")}
                    return
    raise AssertionError("in 20 epochs row 2 was never a partner first")


def test_boxes_leave_the_share_that_they_say_to_the_pixel() -> None:
    draw = np.random.default_rng(0)
    height, width = 24, 40
    boxes, shares = _boxes(draw.beta(1, 1, 5000), draw.random((5000, 2)), height, width)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    pixels = boxes * [width, height, width, height]
    assert np.abs(pixels - np.rint(pixels)).max() < 1e-9
    area = (pixels[:, 2] - pixels[:, 0]) * (pixels[:, 3] - pixels[:, 1])
    assert np.abs(1 - area / (height * width) - shares).max() < 1e-9
    assert 0.6 < shares.mean() < 0.75, "a half, and what is cut off at the border"
    whole, left = _boxes(np.array([0.0, 1.0]), np.array([[0.5, 0.5], [0.5, 0.5]]), height, width)
    assert left.tolist() == [0.0, 1.0]
    assert whole[0].tolist() == [0, 0, 1, 1]

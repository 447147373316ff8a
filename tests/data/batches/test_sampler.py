from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.batches.collate import FILLER
from polysense.data.batches.sampler import StepSampler

settings = {
    "num_rows": st.integers(1, 60),
    "batch_size": st.integers(1, 17),
    "seed": st.integers(0, 2**63),
    "epoch": st.integers(0, 1000),
}


@given(**settings)
def test_an_epoch_has_each_row_once(num_rows: int, batch_size: int, seed: int, epoch: int) -> None:
    sampler = StepSampler(num_rows, batch_size, seed)
    batches = list(sampler.batches(epoch))
    assert len(batches) == sampler.num_batches(epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(num_rows))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(world_size=st.integers(1, 9), **settings)
def test_ranks_share_the_batches_of_one_process(
    num_rows: int, batch_size: int, seed: int, epoch: int, world_size: int
) -> None:
    alone = StepSampler(num_rows, batch_size, seed)
    ranks = [
        list(StepSampler(num_rows, batch_size, seed, rank=rank, world_size=world_size).batches(epoch))
        for rank in range(world_size)
    ]
    assert {len(batches) for batches in ranks} == {alone.num_batches(epoch)}
    for step, batch in enumerate(alone.batches(epoch)):
        shares = [batches[step] for batches in ranks]
        assert all(share for share in shares)
        assert Counter(row for share in shares for row in share if row != FILLER) == Counter(batch)
        assert all(share == [FILLER] or FILLER not in share for share in shares)
        assert [share[0] for share in shares if share != [FILLER]] == batch[:world_size]


@given(start=st.integers(0, 70), **settings)
def test_starting_at_a_step_is_the_rest_of_the_epoch(
    num_rows: int, batch_size: int, seed: int, epoch: int, start: int
) -> None:
    sampler = StepSampler(num_rows, batch_size, seed)
    assert list(sampler.batches(epoch, start)) == list(sampler.batches(epoch))[start:]


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {tuple(StepSampler(50, 8, seed).order(epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert np.array_equal(StepSampler(50, 8, 1).order(2), StepSampler(50, 16, 1, rank=1, world_size=4).order(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_rows": 0}, "no rows"),
        ({"batch_size": 0}, "batch_size must be positive, is 0"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to 1, is 2"),
    ],
)
def test_what_can_not_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        StepSampler(**{"num_rows": 4, "batch_size": 2, "seed": 0, **changes})  # type: ignore[arg-type]

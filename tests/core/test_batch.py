from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.core.sample import SourceInfo, Unreadable


def column(lengths: list[list[int]], keys: bool = False) -> ColumnBatch:
    sizes = torch.tensor(lengths)
    values = torch.arange(sizes.numel() * 3).view(*sizes.shape, 3)
    return ColumnBatch(values=values, lengths=sizes, keys=torch.arange(len(sizes)) if keys else None)


def make() -> Batch:
    return Batch(
        rows=torch.tensor([4, 0]),
        columns={"a": column([[2], [0]], keys=True), "b.c": column([[0, 1], [0, 0]])},
        truths={"y": ValueTruth(values=torch.tensor([1, 0]), present=torch.tensor([True, False]))},
        unreadable=(Unreadable(source=SourceInfo(table="t", row=0, column="a"), reason="cut"),),
    )


@given(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1, max_size=6))
def test_a_row_is_present_when_any_item_has_a_length(lengths: list[list[int]]) -> None:
    assert column(lengths).present.tolist() == [any(row) for row in lengths]


def test_masked_makes_rows_absent_and_touches_no_value() -> None:
    whole = column([[2, 1], [3, 0], [0, 0]], keys=True)
    retained = whole.masked(torch.tensor([False, True, True]))
    assert retained.lengths.tolist() == [[0, 0], [3, 0], [0, 0]]
    assert retained.lengths.dtype == whole.lengths.dtype
    assert retained.values is whole.values
    assert retained.keys is whole.keys
    assert whole.lengths.tolist()[0] == [2, 1]


def test_weights_are_one_unless_given() -> None:
    assert make().weights.tolist() == [1.0, 1.0]
    weighted = Batch(rows=torch.tensor([0]), columns={}, weights=torch.tensor([0.25]))
    assert weighted.weights.tolist() == [0.25]
    assert weighted.to("cpu").weights.tolist() == [0.25]
    assert len(Batch(rows=torch.tensor([], dtype=torch.int64), columns={}).weights) == 0


def test_only_makes_the_others_absent() -> None:
    batch = make()
    only = batch.only(["b.c"])
    assert only.columns["b.c"] is batch.columns["b.c"]
    assert not only.columns["a"].present.any()
    assert only.columns["a"].values is batch.columns["a"].values
    assert not any(column.present.any() for column in batch.only([]).columns.values())
    assert batch.only(["a"]).truths is batch.truths
    assert list(batch.columns) == ["a", "b.c"]


def test_moving_a_batch_keeps_everything() -> None:
    batch = make()
    moved = batch.to("meta")
    assert moved.device.type == "meta"
    assert len(moved) == 2
    assert moved.columns["a"].values.device.type == "meta"
    assert moved.columns["a"].keys is not None
    assert moved.columns["b.c"].keys is None
    assert moved.columns["b.c"].lengths.shape == (2, 2)
    assert moved.truths["y"].present.dtype == torch.bool
    assert moved.weights.device.type == "meta"
    assert moved.unreadable == batch.unreadable
    back = batch.to("cpu")
    assert torch.equal(back.rows, batch.rows)
    assert torch.equal(back.columns["a"].values, batch.columns["a"].values)

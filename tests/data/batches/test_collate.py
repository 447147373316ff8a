from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import Sample, SourceInfo, Unreadable
from polysense.core.schema import Schema
from polysense.data.batches.collate import FILLER, collate, round_up
from polysense.data.batches.length_buckets import LengthBucket
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.date.record import DateColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget

SCHEMA = Schema(
    columns=(
        TextColumn(name="note", vocabulary_size=50, padding_id=3, multiple=True, max_items=2),
        ImageColumn(name="photo", image_size=(2, 3), num_channels=1, mean=(0.5,), std=(0.25,)),
        AudioColumn(name="voice", sample_rate=8000),
        NumberColumn(name="age", mean=0.0, std=1.0),
        CategoryColumn(name="kind", num_categories=4),
    ),
    targets=(
        ClassificationTarget(name="label", columns=("label",), classes=("a", "b")),
        MultilabelTarget(name="tags", columns=("tags",), classes=("x", "y", "z")),
        RegressionTarget(name="size", columns=("w", "h")),
    ),
)


def full(row: int, note: list[int], voice: int) -> Sample:
    return Sample(
        row=row,
        values={
            "note": [np.arange(length, dtype=np.int32) + 10 for length in note],
            "photo": [np.full((1, 2, 3), row, dtype=np.uint8)],
            "voice": [np.full(voice, -row - 1, dtype=np.int16)],
            "age": [np.array([row / 2], dtype=np.float32)],
            "kind": [np.array([2], dtype=np.int64)],
        },
        targets={
            "label": np.array(1, dtype=np.int64),
            "tags": np.array([1, 0, 1], dtype=np.float32),
            "size": np.array([1.5, np.nan], dtype=np.float32),
        },
        weight=2.0,
    )


def test_values_lengths_and_padding() -> None:
    batch = collate([full(4, [3, 9], 401), full(7, [1], 5)], SCHEMA)
    note = batch.columns["note"]
    assert note.values.shape == (2, 2, 16)
    assert note.values.dtype == torch.int32
    assert note.lengths.tolist() == [[3, 9], [1, 0]]
    assert note.values[0, 0].tolist() == [10, 11, 12] + [3] * 13
    assert note.values[1, 1].tolist() == [3] * 16
    assert batch.columns["voice"].values.shape == (2, 1, 800)
    assert batch.columns["voice"].values.dtype == torch.int16
    assert batch.columns["voice"].values[0, 0, 400:403].tolist() == [-5, 0, 0]
    assert batch.columns["photo"].values.shape == (2, 1, 1, 2, 3)
    assert batch.columns["photo"].values.dtype == torch.uint8
    assert batch.columns["age"].values.flatten().tolist() == [2.0, 3.5]
    assert batch.columns["kind"].values.dtype == torch.int64
    assert batch.rows.tolist() == [4, 7]
    assert batch.weights.tolist() == [2.0, 2.0]


def test_absent_cells_and_columns_have_length_zero() -> None:
    empty = Sample(row=1)
    batch = collate([full(0, [2], 3), empty], SCHEMA)
    assert all(column.present.tolist() == [True, False] for column in batch.columns.values())
    nothing = collate([empty, empty], SCHEMA)
    assert list(nothing.columns) == list(batch.columns)
    assert all(column.lengths.tolist() == [[0], [0]] for column in nothing.columns.values())
    del (half := full(2, [4], 4)).values["voice"]
    present = {name for name, column in collate([half, empty], SCHEMA).columns.items() if column.present.any()}
    assert present == {"note", "photo", "age", "kind"}


def test_targets_and_their_absence() -> None:
    batch = collate([full(0, [2], 3), Sample(row=1)], SCHEMA)
    assert all(target.present.tolist() == [True, False] for target in batch.truths.values())
    assert batch.truths["label"].values.tolist() == [1, 0]
    assert batch.truths["label"].values.dtype == torch.int64
    assert batch.truths["tags"].values.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert batch.truths["size"].values[0, 0] == 1.5
    assert batch.truths["size"].values.isnan().tolist() == [[False, True], [True, True]]
    assert collate([full(0, [2], 3)], SCHEMA, with_targets=False).truths == {}


SHAPE = {"note": (4, 24), "photo": (1, 1), "voice": (1, 1200), "age": (2, 1), "kind": (1, 1)}


def test_a_given_shape_is_kept_exactly_and_rows_are_filled() -> None:
    batch = collate([full(5, [2], 3)], SCHEMA, shape=SHAPE, num_rows=3)
    assert {name: tuple(column.values.shape) for name, column in batch.columns.items()} == {
        "note": (3, 4, 24),
        "photo": (3, 1, 1, 2, 3),
        "voice": (3, 1, 1200),
        "age": (3, 2, 1),
        "kind": (3, 1, 1),
    }
    assert batch.rows.tolist() == [5, FILLER, FILLER]
    assert batch.weights.tolist() == [2.0, 0.0, 0.0]
    assert all(batch.columns[name].present.tolist() == [True, False, False] for name in ("note", "photo", "voice"))
    assert not any(target.present[1:].any() for target in batch.truths.values())
    nothing = collate([Sample(row=0)], SCHEMA, shape=SHAPE, num_rows=2)
    assert not any(column.present.any() for column in nothing.columns.values())


def test_what_does_not_fit_is_an_error_never_cut() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        collate([full(0, [30], 3)], SCHEMA, shape={**SHAPE, "note": (2, 24)})
    with pytest.raises(IndexError):
        collate([full(0, [3, 3, 3], 3)], SCHEMA, shape={**SHAPE, "note": (2, 24)})
    with pytest.raises(AssertionError, match="2 samples do not fit into 1 rows"):
        collate([Sample(row=0), Sample(row=1)], SCHEMA, num_rows=1)


def test_a_batch_shares_no_memory_with_its_samples() -> None:
    sample = full(0, [8], 400)
    batch = collate([sample], SCHEMA)
    for column in batch.columns.values():
        column.values.zero_()
    assert sample.values["note"][0][0] == 10
    assert sample.values["voice"][0][0] == -1


def test_unreadable_cells_are_carried() -> None:
    bad = Unreadable(source=SourceInfo(table="t", row=9, column="photo"), reason="cut off")
    assert collate([Sample(row=0), Sample(row=1, unreadable=(bad,))], SCHEMA).unreadable == (bad,)


@given(st.lists(st.tuples(st.lists(st.integers(0, 20), max_size=3), st.integers(0, 900)), min_size=1, max_size=6))
def test_every_item_comes_back(rows: list[tuple[list[int], int]]) -> None:
    samples = [full(row, note, voice) for row, (note, voice) in enumerate(rows)]
    batch = collate(samples, SCHEMA)
    for name in ("note", "voice"):
        for row, sample in enumerate(samples):
            for index, item in enumerate(sample.values[name]):
                column = batch.columns[name]
                assert int(column.lengths[row, index]) == len(item)
                assert np.array_equal(column.values[row, index, : len(item)].numpy(), item)


@given(st.integers(0, 10**6), st.integers(1, 1000))
def test_round_up(length: int, multiple: int) -> None:
    rounded = round_up(length, multiple)
    assert rounded % multiple == 0
    assert max(length, 1) <= rounded < max(length, 1) + multiple


def test_an_item_has_as_many_values_as_its_column_says() -> None:
    schema = Schema(
        columns=(
            DateColumn(name="day", num_values=3, mean=0.0, std=1.0),
            CategoryColumn(name="user", num_categories=9, num_hashes=2),
        ),
        targets=(),
    )
    sample = Sample(
        row=0,
        values={"day": [np.array([0.5, 1.0, -1.0], np.float32)], "user": [np.array([3, 8], np.int64)]},
    )
    batch = collate([sample, Sample(row=1)], schema)
    assert batch.columns["day"].values.tolist() == [[[0.5, 1.0, -1.0]], [[0.0, 0.0, 0.0]]]
    assert batch.columns["day"].values.dtype == torch.float32
    assert batch.columns["user"].values.tolist() == [[[3, 8]], [[0, 0]]]
    assert batch.columns["user"].lengths.tolist() == [[1], [0]]
    shape = LengthBucket.of(sample, schema).shape(schema)
    assert collate([Sample(row=1)], schema, shape=shape).columns["day"].values.shape == (1, 1, 3)

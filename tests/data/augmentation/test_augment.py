from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from transforms import transform_of

from polysense.config.base import members
from polysense.core.batch import Batch
from polysense.core.random import fold
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.augmentation.augment import augment
from polysense.data.augmentation.base import Transform
from polysense.data.batches.collate import FILLER, collate
from polysense.modalities.audio.augment import AudioTransformConfig
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.augment import TextTransformConfig
from polysense.modalities.text.record import TextColumn

SCHEMA = Schema(
    columns=(
        ImageColumn(name="photo", image_size=(28, 28), num_channels=1, mean=(0.2,), std=(0.3,)),
        AudioColumn(name="voice", sample_rate=8000),
        TextColumn(name="note", vocabulary_size=100),
        NumberColumn(name="age", mean=0.0, std=1.0),
    ),
    targets=(),
)


def transforms() -> dict[str, Transform]:
    configs = {"photo": ImageTransformConfig(), "voice": AudioTransformConfig(), "note": TextTransformConfig()}
    return {name: transform_of(config, SCHEMA.column(name)) for name, config in configs.items()}


def sample(row: int, share: float = 0.7) -> Sample:
    draw = np.random.default_rng(row)
    values = {
        "photo": draw.integers(0, 256, (1, 28, 28), dtype=np.uint8),
        "voice": draw.integers(-9000, 9000, draw.integers(2800, 4800), dtype=np.int16),
        "note": draw.integers(0, 100, draw.integers(1, 30), dtype=np.int32),
        "age": np.ones(1, dtype=np.float32),
    }
    return Sample(row=row, values={name: [value] for name, value in values.items() if draw.random() < share})


SAMPLES = [sample(row) for row in range(30)]


def contents(batch: Batch) -> list[dict[str, list[float]]]:
    """Each row's present values."""
    rows: list[dict[str, list[float]]] = [{} for _ in range(len(batch))]
    for name, column in batch.columns.items():
        for row, (value, length) in enumerate(zip(column.values[:, 0], column.lengths[:, 0].tolist(), strict=True)):
            if length:
                rows[row][name] = (value[:length] if name in ("voice", "note") else value).flatten().tolist()
    return rows


@given(
    st.lists(st.integers(0, 29), min_size=1, max_size=12), st.integers(0, 2**40), st.integers(0, 99), st.floats(0, 1)
)
def test_a_row_is_varied_alike_in_any_company(chosen: list[int], seed: int, epoch: int, dropout: float) -> None:
    made = transforms()
    whole = contents(augment(collate(SAMPLES, SCHEMA), SCHEMA, made, seed=seed, epoch=epoch, modality_dropout=dropout))
    batch = collate([*(SAMPLES[i] for i in chosen), Sample(row=FILLER)], SCHEMA)
    part = augment(batch, SCHEMA, made, seed=seed, epoch=epoch, modality_dropout=dropout)
    assert contents(part) == [*(whole[i] for i in chosen), {}]


def test_no_transform_and_no_dropout_is_the_identity() -> None:
    batch = collate(SAMPLES, SCHEMA)
    same = augment(batch, SCHEMA, {}, seed=0, epoch=0)
    assert same.columns.keys() == batch.columns.keys()
    for name, column in batch.columns.items():
        assert torch.equal(same.columns[name].values, column.values)
        assert torch.equal(same.columns[name].lengths, column.lengths)


def test_the_batch_is_not_changed_and_the_rest_is_kept() -> None:
    batch, untouched = collate(SAMPLES, SCHEMA), collate(SAMPLES, SCHEMA)
    found = augment(batch, SCHEMA, transforms(), seed=0, epoch=0, modality_dropout=0.5)
    for name, column in untouched.columns.items():
        assert torch.equal(batch.columns[name].values, column.values)
        assert torch.equal(batch.columns[name].lengths, column.lengths)
    assert torch.equal(found.rows, batch.rows)
    assert torch.equal(found.weights, batch.weights)


def test_rows_may_be_given_from_main_memory() -> None:
    batch = collate(SAMPLES, SCHEMA)
    one = augment(batch, SCHEMA, transforms(), seed=0, epoch=0, modality_dropout=0.3)
    other = augment(batch, SCHEMA, transforms(), seed=0, epoch=0, modality_dropout=0.3, rows=batch.rows.numpy())
    assert contents(one) == contents(other)


def present(batch: Batch) -> torch.Tensor:
    return torch.stack([batch.columns[name].present for name in SCHEMA.names], dim=1)


@given(st.floats(0, 1), st.integers(0, 2**40))
def test_dropout_never_takes_all_and_never_adds(probability: float, seed: int) -> None:
    batch = collate([*SAMPLES, Sample(row=77), Sample(row=FILLER)], SCHEMA)
    before = present(batch)
    after = present(augment(batch, SCHEMA, {}, seed=seed, epoch=0, modality_dropout=probability))
    assert not bool((after & ~before).any())
    assert torch.equal(after.any(dim=1), before.any(dim=1))


def test_dropout_at_one_leaves_exactly_one_and_each_as_often() -> None:
    batch = collate([sample(row, share=1.0) for row in range(40)], SCHEMA)
    retained = torch.stack(
        [present(augment(batch, SCHEMA, {}, seed=0, epoch=e, modality_dropout=1.0)) for e in range(50)]
    )
    assert bool((retained.sum(dim=2) == 1).all())
    # Four standard errors of a share of 2,000 are 0.039.
    assert float((retained.double().mean(dim=(0, 1)) - 0.25).abs().max()) < 0.039


def test_dropout_takes_as_many_as_asked_for() -> None:
    batch = collate([sample(row, share=1.0) for row in range(40)], SCHEMA)
    retained = [present(augment(batch, SCHEMA, {}, seed=0, epoch=e, modality_dropout=0.2)) for e in range(50)]
    assert abs(float(torch.stack(retained).double().mean()) - 0.8) < 0.02


def test_dropout_of_a_column_does_not_depend_on_other_columns() -> None:
    full = [sample(row, share=1.0) for row in range(30)]
    smaller = Schema(columns=SCHEMA.columns[1:], targets=())
    one = augment(collate(full, SCHEMA), SCHEMA, {}, seed=0, epoch=0, modality_dropout=0.2)
    other = augment(collate(full, smaller), smaller, {}, seed=0, epoch=0, modality_dropout=0.2)
    spared = present(one).sum(dim=1) > 1  # where one is left, which one depends on the others
    for name in smaller.names:
        assert torch.equal(one.columns[name].present[spared], other.columns[name].present[spared])


def test_the_family_is_registered() -> None:
    assert {"image", "audio", "text"} <= set(members("transform"))


def test_a_batch_of_64_costs_milliseconds() -> None:
    batch = collate([sample(row, share=1.0) for row in range(64)], SCHEMA)
    made = transforms()
    times = []
    for epoch in range(12):
        start = time.thread_time()
        augment(batch, SCHEMA, made, seed=0, epoch=epoch, modality_dropout=0.1)
        times.append(time.thread_time() - start)
    # 4 ms on a slow core with the shape checks off; a loop over rows or a hash per sample would take 30 ms and more.
    assert min(times) < 0.02


def test_a_batch_says_how_far_the_training_is() -> None:
    """A function of the epoch alone: whatever the rows, and again after a resume."""
    for chosen in (SAMPLES[:4], SAMPLES[4:5]):
        batch = collate(chosen, SCHEMA)
        found = [augment(batch, SCHEMA, {}, seed=0, epoch=epoch, epochs=4).progress for epoch in range(4)]
        assert [None if one is None else one.item() for one in found] == [0.25, 0.5, 0.75, 1.0]
        assert augment(batch, SCHEMA, {}, seed=0, epoch=1).progress is None
        assert batch.progress is None


def test_a_row_that_is_drawn_again_is_varied_anew() -> None:
    """Its first draw is what it always was; the others differ, except where versions are few and stored."""
    twice = [sample(3, share=1.0), sample(3, share=1.0)]
    batch = collate(twice, SCHEMA)
    once = augment(batch, SCHEMA, transforms(), seed=1, epoch=2)
    again = augment(dataclasses.replace(batch, draws=torch.tensor([0, 1])), SCHEMA, transforms(), seed=1, epoch=2)
    assert once.keys is not None
    assert again.keys is not None
    assert once.keys[0] == once.keys[1] == again.keys[0] != again.keys[1]
    for name in transforms():
        (first, second), (third, fourth) = ([cell[name] for cell in contents(each)] for each in (once, again))
        assert first == second == third, name
        assert fourth != third, name
    views = augment(
        dataclasses.replace(batch, draws=torch.tensor([0, 1])), SCHEMA, transforms(), seed=1, epoch=2, views=2
    )
    assert contents(views)[0] == contents(views)[1]


def test_a_row_that_is_drawn_again_may_be_varied_more() -> None:
    """Its transforms applied to what they gave, by draws of their own; padding and geometry follow."""
    samples = [sample(3, share=1.0), sample(4, share=1.0), sample(3, share=1.0)]
    batch = dataclasses.replace(collate(samples, SCHEMA), draws=torch.tensor([0, 0, 1]))
    each = transforms()
    once, twice = (augment(batch, SCHEMA, each, seed=1, epoch=2, again=again) for again in (0, 1))
    rows = batch.coordinates()
    for name, transform in each.items():
        plain, more = once.columns[name], twice.columns[name]
        assert [cell[name] for cell in contents(twice)][:2] == [cell[name] for cell in contents(once)][:2], name
        expected = transform(dataclasses.replace(plain, geometry=None), rows, int(fold(1, "again", 0)), 2)
        assert torch.equal(more.values[2], expected.values[2]), name
        assert torch.equal(more.lengths[2], expected.lengths[2]), name
        assert contents(twice)[2][name] != contents(once)[2][name], name
        if more.geometry is not None:
            assert plain.geometry is not None
            assert expected.geometry is not None
            torch.testing.assert_close(more.geometry[:2], plain.geometry[:2], rtol=0, atol=0, equal_nan=True)
            composed = expected.geometry[2] @ plain.geometry[2]
            torch.testing.assert_close(more.geometry[2], composed, equal_nan=True)
    alone = augment(dataclasses.replace(batch, draws=None), SCHEMA, each, seed=1, epoch=2, again=1)
    assert contents(alone)[0] == contents(once)[0]

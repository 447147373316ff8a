from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.collate import collate
from polysense.data.batches.length_buckets import LengthBucket
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.text.record import TextColumn

SCHEMA = Schema(
    columns=(
        TextColumn(name="note", typical_length=20, multiple=True, max_items=3, vocabulary_size=10),
        AudioColumn(name="voice", sample_rate=8000, typical_length=6000),
        ImageColumn(name="photo", image_size=(2, 2), num_channels=1, mean=(0.5,), std=(0.25,)),
    ),
    targets=(),
)


def sample(notes: list[int], voice: int) -> Sample:
    values = {"note": [np.zeros(n, np.int32) for n in notes], "voice": [np.zeros(voice, np.int16)] if voice else []}
    return Sample(row=0, values={name: items for name, items in values.items() if items})


def test_levels_double_from_a_quarter_of_the_typical_length() -> None:
    lengths = (1, 8, 9, 16, 17, 24, 25, 40, 41, 80, 81)
    found = [LengthBucket.of(sample([length], 0), SCHEMA).exponent for length in lengths]
    # Padded lengths at -2, -1, 0, ...: 5, 10, 20, 40, 80, each rounded up to a multiple of 8.
    assert found == [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3]
    assert LengthBucket.of(Sample(row=0), SCHEMA) == LengthBucket(-2, (3, 1, 1))
    assert LengthBucket(-2, (3, 1, 1)).shape(SCHEMA) == {"note": (3, 8), "voice": (1, 1600), "photo": (1, 1)}
    assert LengthBucket(1, (3, 1, 1)).shape(SCHEMA) == {"note": (3, 40), "voice": (1, 12000), "photo": (1, 1)}


def test_more_items_than_ever_go_up_to_a_power_of_two() -> None:
    assert [LengthBucket.of(sample([1] * count, 0), SCHEMA).items[0] for count in (0, 1, 3, 4, 5, 8, 9)] == [
        3,
        3,
        3,
        4,
        8,
        8,
        16,
    ]


def test_padding_goes_no_further_than_the_encoder_takes() -> None:
    note = TextColumn(name="note", typical_length=30, vocabulary_size=10, max_length=77)
    schema = Schema(columns=(note,), targets=())
    shapes = [LengthBucket.of(sample([length], 0), schema).shape(schema)["note"] for length in (30, 33, 61, 77)]
    assert shapes == [(1, 32), (1, 64), (1, 64), (1, 77)]
    batches = [collate([sample([length], 0)], schema).columns["note"].values.shape[2] for length in (70, 75, 77)]
    assert batches == [72, 77, 77]


def test_growth_counts_length_and_items() -> None:
    assert LengthBucket.of(sample([3], 100), SCHEMA).growth(SCHEMA) == 1
    assert LengthBucket.of(sample([3], 24_000), SCHEMA).growth(SCHEMA) == 4
    assert LengthBucket.of(sample([1] * 12, 12_000), SCHEMA).growth(SCHEMA) == 2 * 16 / 3


@given(st.lists(st.integers(0, 3000), max_size=9), st.integers(0, 10**6))
def test_a_level_is_the_lowest_that_holds_the_row(notes: list[int], voice: int) -> None:
    level = LengthBucket.of(row := sample(notes, voice), SCHEMA)
    shape = level.shape(SCHEMA)
    for name, items in row.values.items():
        assert len(items) <= shape[name][0]
        assert max(map(len, items)) <= shape[name][1]
    assert shape["note"][1] % 8 == 0
    assert shape["voice"][1] % 400 == 0
    if level.exponent > -2:
        below = LengthBucket(level.exponent - 1, level.items).shape(SCHEMA)
        assert any(max(map(len, items)) > below[name][1] for name, items in row.values.items())

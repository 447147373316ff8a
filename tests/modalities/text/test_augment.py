from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.text.augment import TextTransformConfig
from polysense.modalities.text.record import TextColumn

PADDING = 9999
COLUMN = TextColumn(name="note", vocabulary_size=10_000, padding_id=PADDING)
ROWS = np.arange(40) + 3
LENGTHS = torch.from_numpy(np.random.default_rng(2).integers(0, 33, (40, 2)))


def batch(chosen: list[int] | slice = slice(None), padded_to: int = 32) -> ColumnBatch:
    """Token t of a text is t, so an order can be seen."""
    values = torch.arange(padded_to, dtype=torch.int32).expand(40, 2, padded_to)
    values = torch.where(torch.arange(padded_to) < LENGTHS[..., None], values, PADDING).to(torch.int32)
    return ColumnBatch(values=values[chosen], lengths=LENGTHS[chosen])


def texts(column: ColumnBatch) -> list[list[int]]:
    lengths = column.lengths.flatten().tolist()
    return [v[:n].tolist() for v, n in zip(column.values.flatten(0, 1), lengths, strict=True)]


@given(
    st.floats(0, 1),
    st.lists(st.integers(0, 39), min_size=1, max_size=40),
    st.sampled_from([32, 40, 64]),
    st.integers(0, 2**60),
)
def test_a_text_is_varied_alike_in_any_company_and_padding(
    probability: float, chosen: list[int], padded_to: int, seed: int
) -> None:
    transform = TextTransformConfig(probability=probability).build(COLUMN)
    whole = texts(transform(batch(), ROWS, seed, 1))
    part = transform(batch(chosen, padded_to), ROWS[chosen], seed, 1)
    assert texts(part) == [text for row in chosen for text in whole[2 * row : 2 * row + 2]]
    outside = torch.arange(padded_to) >= part.lengths[..., None]
    assert bool((part.values[outside] == PADDING).all())
    assert part.values.dtype == torch.int32


@given(st.floats(0, 1), st.integers(0, 2**60))
def test_what_remains_is_in_order_with_both_ends(probability: float, seed: int) -> None:
    found = texts(TextTransformConfig(probability=probability).build(COLUMN)(batch(), ROWS, seed, 0))
    for before, after in zip(texts(batch()), found, strict=True):
        assert after == sorted(set(after) & set(before))
        assert after[:1] == before[:1]
        assert after[-1:] == before[-1:]


def test_as_many_go_as_asked_for() -> None:
    long = ColumnBatch(values=torch.arange(1002).int().expand(50, 1, 1002), lengths=torch.full((50, 1), 1002))
    found = TextTransformConfig(probability=0.2).build(COLUMN)(long, np.arange(50), 0, 0)
    assert abs(float(found.lengths.double().mean()) - 802) < 8  # four standard errors are 7.2


def test_none_is_the_identity_and_all_leaves_the_ends() -> None:
    same = TextTransformConfig(probability=0.0).build(COLUMN)(batch(), ROWS, 0, 0)
    assert torch.equal(same.values, batch().values)
    assert torch.equal(same.lengths, LENGTHS)
    ends = TextTransformConfig(probability=1.0).build(COLUMN)(batch(), ROWS, 0, 0)
    assert torch.equal(ends.lengths, LENGTHS.clamp(max=2))


def test_the_input_is_not_changed() -> None:
    before = batch()
    TextTransformConfig(probability=0.5).build(COLUMN)(before, ROWS, 0, 0)
    assert torch.equal(before.values, batch().values)


def test_a_setting_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"probability.*found 2.0"):
        TextTransformConfig(probability=2.0)

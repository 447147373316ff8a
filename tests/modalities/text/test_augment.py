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
MASK = 8888
COLUMN = TextColumn(name="note", vocabulary_size=10_000, padding_id=PADDING, mask_id=MASK)
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
    st.floats(0, 1),
    st.floats(0, 1),
    st.lists(st.integers(0, 39), min_size=1, max_size=40),
    st.sampled_from([32, 40, 64]),
    st.integers(0, 2**60),
)
def test_a_text_is_varied_alike_in_any_company_and_padding(
    probability: float, swap: float, mask: float, chosen: list[int], padded_to: int, seed: int
) -> None:
    transform = TextTransformConfig(probability=probability, swap=swap, mask=mask).build(COLUMN)
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


def long(num: int = 50) -> ColumnBatch:
    return ColumnBatch(values=torch.arange(1002).int().expand(num, 1, 1002), lengths=torch.full((num, 1), 1002))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_swaps_are_of_neighbors_and_as_many_as_asked_for(share: float) -> None:
    transform = TextTransformConfig(probability=0.0, swap=share).build(COLUMN)
    found = transform(long(), np.arange(50), 0, 0)
    assert torch.equal(found.values.sort(dim=2).values, long().values)
    away = (found.values - long().values).abs()[:, 0]
    assert int(away.max()) == 1
    assert int(away[:, [0, -1]].sum()) == 0, "the ends stay"
    assert abs(float((away > 0).double().mean()) - share) < 0.02
    assert found.geometry is not None
    assert found.geometry.isnan().all()
    assert len({tuple((row == 0).nonzero()[:, 0].tolist()[:9]) for row in away}) > 1


@pytest.mark.parametrize("span", [1, 3, 8])
def test_masks_hide_spans_and_as_many_tokens_as_asked_for(span: int) -> None:
    config = TextTransformConfig(probability=0.0, mask=0.2, mask_span=span)
    assert not config.moves
    found = config.build(COLUMN)(long(), np.arange(50), 0, 0)
    hidden = found.values[:, 0] == MASK
    assert torch.equal(found.values[:, 0][~hidden], long().values[:, 0][~hidden])
    assert not hidden[:, [0, -1]].any()
    assert abs(float(hidden.double().mean()) - 0.2) < 0.02
    assert found.geometry is None
    row = hidden[0].tolist()
    runs = [len(run) for run in "".join("x" if each else " " for each in row).split()]
    assert min(runs[1:-1]) >= span, "a span at an end may be cut"


def test_short_texts_have_nothing_to_swap_or_hide() -> None:
    config = TextTransformConfig(probability=0.0, swap=1.0, mask=1.0, mask_span=50)
    short = ColumnBatch(
        values=torch.tensor([[[1, 2]], [[3, PADDING]], [[PADDING, PADDING]]]).int(),
        lengths=torch.tensor([[2], [1], [0]]),
    )
    assert torch.equal(config.build(COLUMN)(short, np.arange(3), 0, 0).values, short.values)


def test_what_changes_the_order_is_not_traced() -> None:
    assert TextTransformConfig(probability=0.0, swap=0.1).untraced == ("swap",)
    assert TextTransformConfig(probability=0.1, swap=0.1).untraced == ("probability", "swap")
    assert TextTransformConfig(probability=0.0, mask=0.1).untraced == ()

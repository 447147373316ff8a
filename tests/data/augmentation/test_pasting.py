from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transforms import transform_of

from polysense.core.batch import Batch
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.augmentation.augment import augment
from polysense.data.batches.collate import FILLER, collate
from polysense.data.batches.mixing import Mixup
from polysense.errors import ConfigError
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.training.config import TrainingConfig

IMAGE = ImageColumn(
    name="photo", image_size=(12, 20), num_channels=1, mean=(0.5,), std=(0.5,), multiple=True, max_items=2
)
SCHEMA = Schema(columns=(IMAGE, NumberColumn(name="x", mean=0.0, std=1.0)), targets=())
ROWS = 12


def sample(row: int) -> Sample:
    """Images of one level each, so that one sees whose a pixel is; every fourth row has none, every third two."""
    if row == FILLER:
        return Sample(row=FILLER, weight=0.0)
    images = [np.full((1, 12, 20), 10 * row + i + 1, dtype=np.uint8) for i in range(1 + (row % 3 == 0))]
    values = {"x": [np.array([float(row)], dtype=np.float32)]}
    return Sample(row=row, values=values if row % 4 == 1 else {"photo": images, **values})


def pasted(rows: list[int], epoch: int, seed: int, alpha: float = 1.0) -> Batch:
    mixup = Mixup(alpha, seed, ["photo"])
    partners = mixup.chosen(np.arange(ROWS), rows, [0] * len(rows), epoch)
    batch = mixup.collated(lambda each: collate(each, SCHEMA), [sample(row) for row in rows + partners])
    return augment(mixup.drawn(batch, epoch), SCHEMA, {}, seed=seed, epoch=epoch)


@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=6), st.integers(0, 99), st.integers(0, 2**40))
def test_a_row_is_pasted_into_alike_in_any_company(chosen: list[int], epoch: int, seed: int) -> None:
    whole, part = pasted(list(range(ROWS)), epoch, seed), pasted([*chosen, FILLER], epoch, seed)
    assert whole.mixed is not None
    assert part.mixed is not None
    for i, row in enumerate(chosen):
        assert part.mixed.share[i] == whole.mixed.share[row]
        lengths = part.columns["photo"].lengths[i]
        for item in lengths.nonzero()[:, 0].tolist():
            assert torch.equal(part.columns["photo"].values[i, item], whole.columns["photo"].values[row, item])
    assert not part.columns["photo"].values[-1].any(), "a filler has nothing, and nothing is pasted into it"


def test_a_box_has_the_partners_pixels_and_its_share_is_the_partners() -> None:
    batch = pasted(list(range(ROWS)), 0, 3)
    mixed = batch.mixed
    assert mixed is not None
    seen = 0
    for row in range(ROWS):
        partner = int(mixed.batch.rows[row])
        values, lengths = batch.columns["photo"].values[row, :, 0], batch.columns["photo"].lengths[row]
        assert torch.equal(lengths, collate([sample(row)], SCHEMA).columns["photo"].lengths[0]) or len(lengths) == 2
        for item in range(2):
            if not lengths[item]:
                assert not values[item].any(), "where nothing is, nothing is pasted"
                continue
            own, other = 10 * row + item + 1, 10 * partner + item + 1
            has = partner % 4 != 1 and (item == 0 or partner % 3 == 0)
            expected = float(mixed.share[row]) if has and partner != row else 1.0
            assert float((values[item] == own).float().mean()) == pytest.approx(expected, abs=1e-6)
            if has:
                assert set(values[item].unique().tolist()) <= {own, other}
                seen += 1
    assert seen > 4


def test_what_is_pasted_was_varied_before() -> None:
    batch = pasted([0, 2], 0, 1)
    config = ImageTransformConfig(rotate_degrees=0.0, scale=0.0, translate=0.0, erase_probability=0.0, brightness=0.5)
    mixup = Mixup(1.0, 1, ["photo"])
    given = mixup.collated(lambda each: collate(each, SCHEMA), [sample(row) for row in (0, 2, 6, 7)])
    varied = augment(mixup.drawn(given, 0), SCHEMA, {"photo": transform_of(config, IMAGE)}, seed=1, epoch=0)
    assert varied.mixed is not None
    other = varied.mixed.batch.columns["photo"].values[1, 0]
    inside = varied.columns["photo"].values[1, 0] == other
    assert inside.any()
    assert dataclasses.replace(batch, mixed=None).mixed is None


def test_a_row_is_mixed_in_one_way() -> None:
    with pytest.raises(ConfigError, match=r"mixup is 0.2 and cutmix is 1: .* set all but one to 0"):
        TrainingConfig(mixup=0.2, cutmix=1.0)

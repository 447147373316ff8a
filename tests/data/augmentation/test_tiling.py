"""Four images put together: a row's alike in any company, boxes and masks where their things are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.batch import Batch, ValueTruth
from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.augmentation.augment import augment
from polysense.data.batches.collate import FILLER, collate
from polysense.data.batches.tiling import Mosaic
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.truth import BoxTruth
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.training.config import TrainingConfig

HEIGHT, WIDTH, ROWS = 24, 40, 9
CLASSES = tuple(f"class {row}" for row in range(ROWS))
IMAGE = ImageColumn(name="photo", image_size=(HEIGHT, WIDTH), num_channels=1, mean=(0.5,), std=(0.5,))
BOXES = DetectionTarget(
    name="boxes", columns=("b",), num_rows=ROWS, classes=CLASSES, class_counts=(1,) * ROWS, over="photo",
    size=(HEIGHT, WIDTH),
)  # fmt: skip
MASKS = SegmentationTarget(
    name="mask", columns=("m",), num_rows=ROWS, classes=CLASSES, class_counts=(1,) * ROWS, over="photo",
    size=(HEIGHT, WIDTH),
)  # fmt: skip
SCHEMA = Schema(columns=(IMAGE,), targets=(BOXES, MASKS))


def sample(row: int) -> Sample:
    """A rectangle of the level 20 (row + 1) on black; rows 7 and 8 lack the image or the boxes."""
    if row == FILLER:
        return Sample(row=FILLER, weight=0.0)
    left, top = 3 + 2 * row, 2 + row
    image, mask = np.zeros((1, HEIGHT, WIDTH), dtype=np.uint8), np.full((HEIGHT, WIDTH), MASKS.void, dtype=np.int64)
    image[0, top : top + 9, left : left + 13] = 20 * (row + 1)
    mask[top : top + 9, left : left + 13] = row
    box = [left, top, left + 13, top + 9]
    targets = {"boxes": np.array([[row, 0, 117, *box, *box]], dtype=np.float64), "mask": mask}
    if row == 8:
        del targets["boxes"]
    return Sample(row=row, values={} if row == 7 else {"photo": [image]}, targets=targets)


def put_together(rows: list[int], epoch: int, seed: int, probability: float = 1.0, epochs: int = 100) -> Batch:
    mosaic = Mosaic(probability, seed, "photo")
    partners = mosaic.chosen(np.arange(ROWS), rows, [0] * len(rows), epoch)
    assert len(partners) == 3 * len(rows)
    batch = mosaic.collated(
        lambda each: collate(each, SCHEMA, with_targets=True), [sample(row) for row in rows + partners]
    )
    return augment(mosaic.drawn(batch, epoch), SCHEMA, {}, seed=seed, epoch=epoch, epochs=epochs)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=5), st.integers(0, 80), st.integers(0, 2**40))
def test_a_row_is_put_together_alike_in_any_company(chosen: list[int], epoch: int, seed: int) -> None:
    whole = put_together(list(range(ROWS)), epoch, seed, 0.7)
    part = put_together([*chosen, FILLER], epoch, seed, 0.7)
    assert part.tiled is None
    boxes, of_part = BoxTruth.of(whole.truths["boxes"]), BoxTruth.of(part.truths["boxes"])
    masks, of_masks = ValueTruth.of(whole.truths["mask"]), ValueTruth.of(part.truths["mask"])
    for i, row in enumerate(chosen):
        assert torch.equal(part.columns["photo"].values[i], whole.columns["photo"].values[row])
        assert torch.equal(of_masks.values[i], masks.values[row])
        assert torch.equal(of_part.boxes[i][of_part.learned[i]], boxes.boxes[row][boxes.learned[row]])
    assert not part.columns["photo"].values[-1].any(), "a filler has nothing beside which something could stand"


def test_boxes_and_masks_lie_where_their_things_do() -> None:
    several = 0
    for epoch in range(6):
        batch = put_together(list(range(7)), epoch, 3)
        boxes, masks = BoxTruth.of(batch.truths["boxes"]), ValueTruth.of(batch.truths["mask"]).values
        for row in range(7):
            pixels = batch.columns["photo"].values[row, 0, 0].float()
            learned = boxes.learned[row]
            several += int(learned.sum() > 2)
            covered = torch.zeros_like(pixels, dtype=torch.bool)
            for corners, label in zip(boxes.boxes[row][learned], boxes.labels[row][learned], strict=True):
                left, top, right, bottom = corners.tolist()
                covered[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
                middle = pixels[int(np.ceil(top)) + 1 : int(bottom) - 1, int(left) + 2 : int(right) - 1]
                assert (middle == 20 * (int(label) + 1)).float().mean() > 0.9 or middle.numel() < 6
            assert (pixels[~covered] > 0).float().mean() < 0.03, "no thing is left without its box, but a last rest"
            known = masks[row] != MASKS.void
            share = pixels[known] / (20.0 * (masks[row][known] + 1))
            assert bool(((share > 0.2) & (share < 1.01)).all()), "at an edge a pixel is blurred, and its class is not"
            assert not (pixels[~known] > 0).float().mean() > 0.15, "every thing has its mask, but for blurred edges"
    assert several > 9


def test_what_is_not_known_stays_out() -> None:
    for epoch in range(8):
        batch = put_together(list(range(ROWS)), epoch, 1)
        present = BoxTruth.of(batch.truths["boxes"]).present
        assert present.tolist() == [True] * 8 + [False]
        alone = batch.columns["photo"].values[8, 0, 0]
        assert torch.equal(alone, torch.from_numpy(sample(8).values["photo"][0][0])), "its boxes are not known"
        assert not batch.columns["photo"].present[7]
        assert not (batch.columns["photo"].values[:7] == 20 * 9).any(), "row 8 stands beside none"


def test_the_last_epochs_have_whole_images() -> None:
    rows = list(range(7))
    last = put_together(rows, 95, 0)
    for row in rows:
        assert torch.equal(last.columns["photo"].values[row], torch.from_numpy(sample(row).values["photo"][0])[None])
    assert last.tiled is None


def test_a_row_is_mixed_in_one_way() -> None:
    with pytest.raises(ConfigError, match=r"cutmix is 1 and mosaic is 0.5: .* set all but one to 0"):
        TrainingConfig(cutmix=1.0, mosaic=0.5)

"""What is explained of a mask, and what is said of its classes: the image's own pixels alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polysense.core.geometry import Geometry, Placement
from polysense.data.media.pixels import Resize
from polysense.data.tables.sources import read_table
from polysense.tasks.segmentation.predicted import predicted_columns
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.spec import SPEC
from polysense.tasks.segmentation.target import SegmentationTargetConfig

TARGET = SegmentationTarget(
    name="mask", columns=("mask",), num_rows=1, classes=("sky", "cat"), class_counts=(1, 1), class_shares=(0.5, 0.5),
    values=(0, 1), over="photo", size=(6, 4),
)  # fmt: skip
SIZE = (3, 4)  # padded by a row above and two below
PLACEMENT = Placement(Resize(TARGET.size).matrix(*SIZE), SIZE)


def mask() -> np.ndarray:
    """A cat in the padding and in four pixels of the image."""
    ids = np.ones((6, 4), dtype=np.uint8)
    ids[1:4] = 0
    ids[1] = 1
    return ids


@pytest.mark.parametrize(("choice", "explained"), [("all pixels", 12), ("cat", 4), ("sky", 8)])
def test_padding_is_not_explained(choice: str, explained: int) -> None:
    way: Any = SPEC.explained
    place = list(way.choices(TARGET)).index(choice)
    cell = way.cell(TARGET, {"values": mask()[None]}, place, {"photo": PLACEMENT})
    assert (cell != TARGET.void).sum() == explained
    assert (cell[[0, 4, 5]] == TARGET.void).all()
    assert (cell[cell != TARGET.void] == mask()[cell != TARGET.void]).all()


def test_without_a_known_place_all_pixels_are_explained() -> None:
    way: Any = SPEC.explained
    np.testing.assert_array_equal(way.cell(TARGET, {"values": mask()[None]}, 0, {}), mask())


def test_shares_of_classes_are_of_the_image() -> None:
    geometry = Geometry(np.stack([PLACEMENT.matrix, np.eye(3)]), np.array([SIZE, (0, 0)]))
    outputs = {"values": np.stack([mask(), mask()])}
    processor, table = SegmentationTargetConfig().build("mask"), read_table([{"photo": "a"}, {"photo": "b"}])
    columns: Any = predicted_columns(TARGET, outputs, processor, table, {"photo": geometry})
    assert columns["mask_share[cat]"].tolist() == pytest.approx([4 / 12, 16 / 24])
    assert columns["mask_share[sky]"].tolist() == pytest.approx([8 / 12, 8 / 24])

"""Outlines: equal to distances counted one by one; shifted, missing and unasked ones."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polysense.tasks.segmentation.boundaries import boundary_scores
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.spec import SPEC

TARGET = SegmentationTarget(
    name="mask", columns=("mask",), classes=("sky", "road", "car"), class_shares=(0.5, 0.3, 0.2), over="photo",
    size=(5, 6), values=(0, 1, 2),
)  # fmt: skip
PLANES = arrays(np.uint8, (1, 5, 6), elements=st.integers(0, TARGET.void))


def outline(plane: np.ndarray, index: int) -> list[tuple[int, int]]:
    """A class's pixels beside something else that is known."""
    pixels = []
    for y, x in itertools.product(*map(range, plane.shape)):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        there = [plane[b, a] for b, a in around if 0 <= b < plane.shape[0] and 0 <= a < plane.shape[1]]
        if plane[y, x] == index and any(one not in (index, TARGET.void) for one in there):
            pixels.append((y, x))
    return pixels


@given(PLANES, PLANES)
def test_f1_is_that_of_distances_counted_one_by_one(truth: np.ndarray, predicted: np.ndarray) -> None:
    predicted = np.minimum(predicted, 2)
    results = boundary_scores(TARGET, truth, predicted)
    guess = np.where(truth == TARGET.void, TARGET.void, predicted)[0]
    for index in range(3):
        true, said = outline(truth[0], index), outline(guess, index)
        assert results["has_boundary"][0, index] == bool(true)
        near = [
            [min((math.dist(one, other) for other in others), default=math.inf) <= 1 for one in some]
            for some, others in ((said, true), (true, said))
        ]
        value = results["boundary_f1"][0, index]
        if not true and not said:
            assert np.isnan(value)
            continue
        precision, recall = (np.mean(each) if each else 0.0 for each in near)
        assert value == pytest.approx(2 * precision * recall / (precision + recall) if precision + recall else 0.0)


@given(PLANES, PLANES)
def test_bands_are_those_of_distances_counted_one_by_one(truth: np.ndarray, predicted: np.ndarray) -> None:
    predicted = np.minimum(predicted, 2)
    results = boundary_scores(TARGET, truth, predicted)
    guess = np.where(truth == TARGET.void, TARGET.void, predicted)[0]
    for index in range(3):
        bands: list[set[tuple[int, ...]]] = []
        if not outline(truth[0], index) and not outline(guess, index):  # it touches what is void at most
            continue
        for plane in (truth[0], guess):
            others = [place for place in np.ndindex(plane.shape) if plane[place] not in (index, TARGET.void)]
            bands.append(
                {
                    (y, x)
                    for y, x in np.ndindex(plane.shape)
                    if plane[y, x] == index and any(max(abs(y - b), abs(x - a)) <= 1 for b, a in others)
                }
            )
        counts = [results[name][0, index] for name in ("band_truth", "band_predicted", "band_both")]
        assert counts == [len(bands[0]), len(bands[1]), len(bands[0] & bands[1])]


def test_boundary_iou_counts_what_lies_near_an_outline() -> None:
    """Bands of 10 pixels (2% of 500) along an edge that is off by 5: of each class 5 of 15 are both."""
    target = dataclasses.replace(TARGET, size=(300, 400))
    truth = np.zeros((1, 300, 400), dtype=np.uint8)
    truth[:, :, 200:] = 1
    predicted = np.zeros_like(truth)
    predicted[:, :, 205:] = 1
    statistics = {
        "present": np.ones(1, dtype=bool), "num_pixels": np.array([1]), **boundary_scores(target, truth, predicted),
        **{name: np.ones((1, 3)) for name in ("truth", "predicted", "both")},
    }  # fmt: skip
    scores = SPEC.scorer(target, statistics)(np.ones((1, 1)))
    assert scores["boundary_iou/sky"][0] == pytest.approx(5 / 15)
    assert scores["boundary_iou"][0] == pytest.approx(1 / 3)
    assert np.isnan(scores["boundary_iou/car"][0])
    (baseline,) = SPEC.baselines(target).values()
    assert SPEC.scorer(target, baseline(statistics))(np.ones((1, 1)))["boundary_iou"][0] == 0


def test_the_tolerance_grows_with_the_image() -> None:
    target = dataclasses.replace(TARGET, size=(300, 400))
    truth = np.zeros((1, 300, 400), dtype=np.uint8)
    truth[:, :, 200:] = 1
    for shift, expected in ((3, 1.0), (5, 0.0)):  # .75% of 500 pixels are 3.75
        moved = np.roll(truth, shift, axis=2)
        moved[:, :, :shift] = 0
        assert boundary_scores(target, truth, moved)["boundary_f1"][0, :2].tolist() == [expected, expected]


def test_the_mean_is_over_images_then_over_classes_and_the_majority_has_no_outline() -> None:
    statistics = {
        "present": np.ones(3, dtype=bool),
        "boundary_f1": np.array([[1.0, 0.5, np.nan], [0.0, np.nan, np.nan], [0.5] * 3]),
        "has_boundary": np.array([[True, True, False], [False, False, False], [True, True, True]]),
        **{name: np.ones((3, 3)) for name in ("truth", "predicted", "both")}, "num_pixels": np.full(3, 3.0),
    }  # fmt: skip
    values = SPEC.scorer(TARGET, statistics)(np.array([[1.0, 1.0, 0.0]]))
    assert values["boundary_f1/sky"][0] == pytest.approx(0.5)
    assert values["boundary_f1/road"][0] == pytest.approx(0.5)
    assert np.isnan(values["boundary_f1/car"][0])
    assert values["boundary_f1"][0] == pytest.approx(0.5)
    (baseline,) = SPEC.baselines(TARGET).values()
    majority = baseline(statistics)["boundary_f1"]
    assert np.array_equal(majority[1], [np.nan] * 3, equal_nan=True)
    assert majority[2].tolist() == [0.0, 0.0, 0.0]

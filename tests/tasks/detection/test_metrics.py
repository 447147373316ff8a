"""Average precision and recall, compared with pycocotools and with published values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coco_reference import NAMES, coco_stats, statistics_of
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.evaluation.metrics.average_precision import image_scores
from polysense.tasks.detection.metrics import image_boxes
from polysense.tasks.detection.record import DetectionTarget
from polysense.tasks.detection.spec import SPEC

NUM = 3
TARGET = DetectionTarget(
    name="boxes", columns=("boxes",), classes=("a", "b", "c"), class_counts=(1, 1, 1), over="photo", size=(200, 200),
    usual_boxes=((0.0, 0.5, 0.1, 0.1, 0.9, 0.9),),
)  # fmt: skip


def images(seed: int, num_images: int, *, ties: bool = False) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes of all sizes, some a crowd; detections near them and elsewhere, one of a class beside the limit of 100."""
    draws = np.random.default_rng(seed)
    truth, predicted = [], []
    for _ in range(num_images):
        num = int(draws.integers(0, 6))
        low = draws.uniform(0, 120, (num, 2))
        corners = np.concatenate([low, low + draws.uniform(5, 130, (num, 2))], axis=1)
        area = (corners[:, 2:] - corners[:, :2]).prod(axis=1) * draws.uniform(0.5, 1, num)
        labels = draws.integers(0, NUM, num)
        truth.append(np.column_stack([labels, draws.random(num) < 0.2, area, corners]).astype(np.float64))
        own = np.column_stack([labels, corners + draws.normal(0, 6, (num, 4)), draws.random(num)])
        more = int(draws.integers(0, 8))
        start = draws.uniform(0, 150, (more, 2))
        size = draws.uniform(5, 60, (more, 2))
        other = np.column_stack([draws.integers(0, NUM, more), start, start + size, draws.random(more)])
        every = np.concatenate([own, own * np.array([1, 1, 1, 1, 1, 0.9]), other])
        every = every[(every[:, 3:5] > every[:, 1:3]).all(axis=1)]
        if ties:
            every[:, 5] = every[:, 5].round(1)
        predicted.append(every[np.argsort(-every[:, 5], kind="stable")])
    return truth, predicted


def values(truth: list[np.ndarray], predicted: list[np.ndarray], weights: np.ndarray | None = None) -> dict[str, float]:
    weights = np.ones((1, len(truth))) if weights is None else weights
    scores = SPEC.scorer(TARGET, statistics_of(truth, predicted))(weights)
    return {name: float(value[0]) for name, value in scores.items()}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
def test_values_are_pycocotools(seed: int, num_images: int, ties: bool) -> None:
    truth, predicted = images(seed, num_images, ties=ties)
    own, (expected, precision) = values(truth, predicted), coco_stats(truth, predicted, NUM)
    for name, value in zip(NAMES, expected, strict=True):
        assert (own[name] if np.isfinite(own[name]) else -1) == pytest.approx(value, abs=1e-9), name
    for index, name in enumerate(TARGET.classes):
        of_class = precision[:, :, index, 0, -1].mean()
        assert (own[f"ap/{name}"] if np.isfinite(own[f"ap/{name}"]) else -1) == pytest.approx(of_class, abs=1e-9)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 5), min_size=2, max_size=8))
def test_a_resample_is_a_table_in_which_images_stand_several_times(seed: int, drawn: list[int]) -> None:
    truth, predicted = images(seed, 6)
    weights = np.bincount(drawn, minlength=6)[None].astype(np.float64)
    own = values(truth, predicted, weights)
    repeated = values([truth[i] for i in sorted(drawn)], [predicted[i] for i in sorted(drawn)])
    for name, value in repeated.items():
        assert own[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_more_than_a_hundred_detections_of_a_class_are_not_counted() -> None:
    truth = [np.array([[0, 0, 900, 10, 10, 40, 40.0]])]
    wrong = np.column_stack([np.zeros(100), np.tile([100, 100, 120, 120], (100, 1)), np.linspace(0.9, 0.8, 100)])
    right = np.array([[0, 10, 10, 40, 40, 0.5]])
    assert values(truth, [np.concatenate([wrong, right])])["recall_100"] == 0
    assert values(truth, [np.concatenate([wrong[1:], right])])["map"] == pytest.approx(1 / 100)
    assert values(truth, [np.concatenate([wrong[1:], right])])["recall_10"] == 0


def test_a_class_that_was_not_learned_counts_as_missed() -> None:
    box = [0, 900, 10, 10, 40, 40.0]
    right = np.array([[0, 10, 10, 40, 40, 0.9]])
    assert values([np.array([[0, *box]])], [right])["map"] == 1
    both = np.array([[0, *box], [NUM, *box]])
    result = values([both], [right])
    assert result["map"] == 0.5
    assert result["box_quality"] == pytest.approx(0.45)


@pytest.mark.parametrize("kind", [1, 2])
def test_crowds_and_difficult_boxes_are_neither_found_nor_missed(kind: int) -> None:
    truth = [np.array([[0, 0, 900, 10, 10, 40, 40.0], [0, kind, 900, 60, 60, 90, 90.0]])]
    hit = [0, 10, 10, 40, 40, 0.5]
    on_other = [0, 60, 60, 90, 90, 0.9]
    assert values(truth, [np.array([on_other, hit])])["map"] == 1
    # A crowd may be taken twice, a single difficult thing once.
    assert values(truth, [np.array([on_other, on_other, hit])])["map"] == pytest.approx(1 if kind == 1 else 0.5)


def test_without_a_box_there_is_no_score_and_an_image_is_as_good_as_it_is_silent() -> None:
    nothing = np.zeros((0, 7))
    result = values([nothing], [np.array([[0, 10, 10, 40, 40, 0.3]])])
    assert all(np.isnan(result[name]) for name in (*NAMES, "box_quality", "ap/a"))
    assert image_scores(image_boxes(nothing, np.array([[0, 10, 10, 40, 40, 0.3]]))) == (0.7, 0.0, 0.0)
    assert image_scores(image_boxes(nothing, np.zeros((0, 6)))) == (1.0, 0.0, 0.0)
    assert image_scores(image_boxes(np.array([[0, 0, 900, 10, 10, 40, 40.0]]), np.zeros((0, 6)))) == (0.0, 0.0, 1.0)


def test_the_baseline_predicts_the_usual_boxes_everywhere() -> None:
    (name,), (baseline,) = zip(*SPEC.baselines(TARGET).items(), strict=True)
    assert name == "class-prior baseline"
    truth = [np.array([[0, 0, 25600, 20, 20, 180, 180.0]]), np.array([[1, 0, 25600, 20, 20, 180, 180.0]])]
    statistics = baseline(statistics_of(truth, [np.zeros((0, 6))] * 2))
    assert [each.tolist() for each in statistics["predicted"]] == [[[0, 20, 20, 180, 180, 0.5]]] * 2
    assert statistics["precision"].tolist() == [1, 0]
    result = SPEC.scorer(TARGET, statistics)(np.ones((1, 2)))
    assert (result["ap/a"][0], result["ap/b"][0], result["map_50"][0]) == (1, 0, 0.5)


@pytest.mark.parametrize("name", ["coco100_bbox", "padilla_coco"])
def test_published_values_of_detections_in_photographs(name: str, real_data: Callable[[str], Path]) -> None:
    """Of a hundred photographs of COCO's validation of 2014 and the made-up detections that come with cocoapi."""
    folder = real_data("fixtures")
    case = json.loads((folder / "expected.json").read_text(encoding="utf-8"))[f"detection/{name}"]
    boxes, detections = (json.loads((folder / case[key]).read_text(encoding="utf-8")) for key in ("gt", "dets"))
    classes = {one["id"]: index for index, one in enumerate(boxes["categories"])}
    names = tuple(one["name"] for one in boxes["categories"])
    ids = sorted(one["id"] for one in boxes["images"])  # ties are broken in this order
    truth: dict[int, list[list[float]]] = {one: [] for one in ids}
    predicted: dict[int, list[list[float]]] = {one: [] for one in ids}
    for one in boxes["annotations"]:
        x, y, width, height = one["bbox"]
        area = width * height if name == "padilla_coco" else one["area"]
        truth[one["image_id"]].append(
            [classes[one["category_id"]], one.get("iscrowd", 0), area, x, y, x + width, y + height]
        )
    for one in detections:
        if one["image_id"] in predicted:
            x, y, width, height = one["bbox"]
            predicted[one["image_id"]].append([classes[one["category_id"]], x, y, x + width, y + height, one["score"]])
    target = replace(TARGET, classes=names, class_counts=(1,) * len(names))
    statistics = statistics_of(
        [np.array(truth[one]).reshape(-1, 7) for one in ids], [np.array(predicted[one]).reshape(-1, 6) for one in ids]
    )
    own = SPEC.scorer(target, statistics)(np.ones((1, len(ids))))
    keys = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")
    for key, metric in zip(keys, NAMES, strict=True):
        assert own[metric][0] == pytest.approx(case["published"][key], abs=1e-6), metric
    for metric, value in case.get("per_class_AP", {}).items():
        assert own[f"ap/{metric}"][0] == pytest.approx(value, abs=1e-6), metric

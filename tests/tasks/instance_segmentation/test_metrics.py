"""Average precision of masks, compared with pycocotools' evaluation of segments."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.geometry import Geometry
from polysense.core.task_spec import BatchRows
from polysense.data.media.mask_codes import encode_counts, from_runs, run_lengths
from polysense.tasks.instance_segmentation.placed import in_original, packed, unpacked
from polysense.tasks.instance_segmentation.record import InstanceTarget
from polysense.tasks.instance_segmentation.spec import SPEC

NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "recall_1", "recall_10", "recall_100")
SIZE = (80, 120)
TARGET = InstanceTarget(
    name="things", columns=("things",), classes=("a", "b"), class_counts=(1, 1), over="photo", size=SIZE,
    usual_boxes=((0.0, 0.5, 0.1, 0.1, 0.9, 0.9),),
)  # fmt: skip


def blob(draws: np.random.Generator) -> np.ndarray:
    """An ellipse with holes."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    center, radii = draws.uniform((0, 0), SIZE), draws.uniform(4, 45, 2)
    inside: np.ndarray = (((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 < 1) & (
        draws.random(SIZE) < 0.95
    )
    return inside


def batch(seed: int, num_rows: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Truth and a head's arrays: masks near the things and elsewhere, with ties of scores."""
    draws = np.random.default_rng(seed)
    most, queries = 4, 6
    masks = np.stack([[blob(draws) for _ in range(most)] for _ in range(num_rows)])
    labels = np.where(draws.random((num_rows, most)) < 0.8, draws.integers(0, 2, (num_rows, most)), -1)
    runs = np.zeros((num_rows, most, SIZE[0] * SIZE[1] + 1), dtype=np.int32)
    for row, thing in np.ndindex(num_rows, most):
        own = run_lengths(masks[row, thing])
        runs[row, thing, : len(own)] = own
    areas = masks.sum(axis=(2, 3)) * draws.uniform(0.8, 1.2, (num_rows, most))
    truth = {
        "present": np.ones(num_rows, dtype=bool), "labels": labels, "runs": runs, "areas": areas, "masks": masks,
        "kinds": (draws.random((num_rows, most)) < 0.2).astype(np.int64),
    }  # fmt: skip
    predicted = np.stack([[blob(draws) for _ in range(queries)] for _ in range(num_rows)])
    for row, thing in np.ndindex(num_rows, most):
        predicted[row, thing] = masks[row, thing] & (draws.random(SIZE) < draws.uniform(0.5, 1))
    scores = np.sort(draws.random((num_rows, queries)).round(1), axis=1)[:, ::-1]
    classes = np.concatenate([np.maximum(labels, 0), draws.integers(0, 2, (num_rows, queries - most))], axis=1)
    output = {
        "values": np.stack([classes, scores], axis=2), "masks": (predicted * 255).astype(np.uint8),
        "strides": np.ones((num_rows, 2), dtype=np.int64),
    }  # fmt: skip
    return truth, output


def reference(truth: dict[str, np.ndarray], output: dict[str, np.ndarray]) -> np.ndarray:
    """pycocotools' first nine numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, detections = list[dict[str, Any]](), list[dict[str, Any]]()
    for row in range(len(truth["labels"])):
        for thing, label in enumerate(truth["labels"][row].tolist()):
            if label >= 0:
                code = encode_counts(run_lengths(truth["masks"][row, thing]), SIZE)
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": row, "category_id": label, "segmentation": code,
                     "area": float(truth["areas"][row, thing]), "iscrowd": int(truth["kinds"][row, thing])}
                )  # fmt: skip
        for (label, score), mask in zip(output["values"][row].tolist(), output["masks"][row] > 0, strict=True):
            if score > 0 and mask.any():
                code = encode_counts(run_lengths(mask), SIZE)
                detections.append({"image_id": row, "category_id": int(label), "segmentation": code, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": row, "height": SIZE[0], "width": SIZE[1]} for row in range(len(truth["labels"]))],
            "categories": [{"id": 0}, {"id": 1}], "annotations": annotations,
        }  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats: np.ndarray = evaluation.stats[:9]
    return stats


def statistics_of(truth: dict[str, np.ndarray], output: dict[str, np.ndarray]) -> Any:
    num = len(truth["labels"])
    geometry = Geometry(np.tile(np.eye(3), (num, 1, 1)), np.tile(np.array(SIZE), (num, 1)))
    return SPEC.row_statistics(TARGET, [output], truth, BatchRows(numbers=np.arange(num), geometry={"photo": geometry}))


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_values_are_pycocotools(seed: int, num_rows: int) -> None:
    truth, output = batch(seed, num_rows)
    scores = SPEC.scorer(TARGET, statistics_of(truth, output))(np.ones((1, num_rows)))
    for name, value in zip(NAMES, reference(truth, output), strict=True):
        own = float(scores[name][0])
        assert (own if np.isfinite(own) else -1) == pytest.approx(value, abs=1e-6), name


def test_the_baseline_fills_the_usual_boxes() -> None:
    truth, output = batch(0, 3)
    ((name, baseline),) = SPEC.baselines(TARGET).items()
    assert name == "class-prior baseline"
    result = baseline(statistics_of(truth, output))
    assert [each.tolist() for each in result["predicted"]] == [[[0, 0.5, 64 * 96]]] * 3
    assert SPEC.scorer(TARGET, result)(np.ones((1, 3)))["map"][0] <= 1


def test_masks_go_back_to_the_original_and_through_one_array() -> None:
    """An image of 40 x 60 pixels was doubled and shifted; cells are 2 x 2 pixels of the input."""
    plane = np.zeros((1, 1, 40, 60), dtype=np.uint8)
    plane[0, 0, 10:20, 5:25] = 255
    output = {"values": np.array([[[1.0, 0.9]]]), "masks": plane, "strides": np.array([[2, 2]])}
    matrix = np.array([[2.0, 0, 4], [0, 2, 0], [0, 0, 1]])
    detections, masks = in_original(output, Geometry(matrix[None], np.array([[40, 58]])), 0, SIZE)
    inside = from_runs(masks[0], (40, 58))
    assert detections.tolist() == [[1, 0.9, 200]]
    assert inside[10:20, 3:23].all()
    assert [one.tolist() for one in unpacked(packed(masks * 2))] == [masks[0].tolist()] * 2
    assert in_original(output, Geometry(matrix[None], np.array([[0, 0]])), 0, SIZE)[1] == []

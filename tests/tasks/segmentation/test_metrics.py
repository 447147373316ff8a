"""A segmentation's counts and metrics, compared with scikit-learn's on all pixels at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from polysense.evaluation.evaluator import score
from polysense.tasks.segmentation.metrics import pixel_counts
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.segmentation.runs import plane_of, runs_of
from polysense.tasks.segmentation.spec import SPEC

CLASSES = ("sky", "road", "car")
TARGET = SegmentationTarget(
    name="mask", columns=("mask",), classes=CLASSES, class_shares=(0.5, 0.3, 0.2), over="photo", size=(3, 4),
    values=(0, 1, 2),
)  # fmt: skip
OTHER, VOID = TARGET.other, TARGET.void
TRUTHS = arrays(np.uint8, (4, 3, 4), elements=st.integers(0, VOID))
PREDICTIONS = arrays(np.uint8, (4, 3, 4), elements=st.integers(0, OTHER - 1))


def statistics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    present = np.ones(len(truth), dtype=bool)
    return {"present": present, **pixel_counts(TARGET, truth, predicted)}


@given(TRUTHS, PREDICTIONS)
def test_counts_are_those_of_the_confusion_matrix(truth: np.ndarray, predicted: np.ndarray) -> None:
    counts = pixel_counts(TARGET, truth, predicted)
    for row in range(len(truth)):
        seen = truth[row] != VOID
        if seen.any():
            matrix = confusion_matrix(truth[row][seen], predicted[row][seen], labels=[0, 1, 2, OTHER])
            assert counts["truth"][row].tolist() == matrix.sum(axis=1)[:3].tolist()
            assert counts["predicted"][row].tolist() == matrix.sum(axis=0)[:3].tolist()
            assert counts["both"][row].tolist() == np.diag(matrix)[:3].tolist()
        assert counts["num_pixels"][row] == seen.sum()


@given(TRUTHS, PREDICTIONS, st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_scores_are_scikit_learns(truth: np.ndarray, predicted: np.ndarray, drawn: list[int]) -> None:
    """With rows drawn as a bootstrap draws them; a class that training does not know is no class of the means."""
    weights = np.bincount(drawn, minlength=4)[None].astype(float)
    values = SPEC.scorer(TARGET, statistics(truth, predicted))(weights)
    flat, guess = truth[drawn].ravel(), predicted[drawn].ravel()
    flat, guess = flat[flat != VOID], guess[flat != VOID]
    occurs = [c for c in range(3) if c in flat or c in guess]
    if not len(flat):
        assert np.isnan(values["mean_iou"][0])
        return
    assert values["pixel_accuracy"][0] == pytest.approx(accuracy_score(flat, guess))
    if not occurs:
        return
    for name, reference in (("iou", jaccard_score), ("dice", f1_score)):
        each = reference(flat, guess, labels=occurs, average=None, zero_division=0)
        assert values[f"mean_{name}"][0] == pytest.approx(each.mean())
        for c, value in zip(occurs, each, strict=True):
            assert values[f"{name}/{CLASSES[c]}"][0] == pytest.approx(value)
    for c in set(range(3)) - set(occurs):
        assert np.isnan(values[f"iou/{CLASSES[c]}"][0])


def test_classes_that_training_does_not_know_count_as_wrong() -> None:
    truth = np.full((1, 3, 4), OTHER, dtype=np.uint8)
    truth[0, 0] = 1
    evaluation = score([TARGET], np.arange(1), {"mask": statistics(truth, np.ones_like(truth))}, bootstrap=0)
    assert evaluation.value("mask", "pixel_accuracy") == pytest.approx(4 / 12)
    assert evaluation.value("mask", "iou/road") == pytest.approx(4 / 12)


@given(TRUTHS)
def test_the_majority_baseline_is_its_mask_scored(truth: np.ndarray) -> None:
    own = statistics(truth, np.full_like(truth, 2))
    (baseline,) = SPEC.baselines(TARGET).values()
    expected, result = statistics(truth, np.zeros_like(truth)), baseline(own)
    for name in ("truth", "predicted", "both", "num_pixels"):
        assert np.array_equal(result[name], expected[name])
    shares = np.log(TARGET.class_shares)
    known = truth[0][truth[0] < OTHER]
    assert result["likelihood"][0] == pytest.approx([shares[known].sum(), len(known)])


@given(PREDICTIONS)
def test_runs_give_the_mask_back(planes: np.ndarray) -> None:
    for plane, runs in zip(planes, runs_of(planes), strict=True):
        assert np.array_equal(plane_of(runs, plane.shape), plane)
        assert np.all(runs[1:, 1] != runs[:-1, 1])

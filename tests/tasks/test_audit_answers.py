"""What tasks answer an audit: their rows' scores add up to their metrics, their sets cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.core.registry import named, task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.evaluator import Evaluation, TargetScorer, score
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.generation.record import GenerationTarget
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.regression.scale import NumberScale
from polysense.tasks.retrieval.record import RetrievalTarget
from polysense.tasks.segmentation.record import SegmentationTarget
from polysense.tasks.tagging.record import TaggingTarget

Statistics = dict[str, np.ndarray]


def classes(num_rows: int, seed: int = 0, num_classes: int = 3) -> Statistics:
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, num_classes, num_rows)
    logits = draws.normal(size=(num_rows, num_classes)) + 1.5 * np.eye(num_classes)[truth]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    present = draws.random(num_rows) < 0.9
    return {
        "present": present,
        "truth": truth,
        "predicted": probabilities.argmax(axis=1),
        "probabilities": probabilities,
    }


def numbers(num_rows: int, seed: int = 0) -> Statistics:
    draws = np.random.default_rng(seed)
    truth = np.exp(draws.normal(3.0, 1.0, size=(num_rows, 1)))
    predicted = truth * np.exp(draws.normal(0, 0.3, size=truth.shape))
    truth[::7] = np.nan
    present = np.isfinite(truth).any(axis=1)
    return {"present": present, "truth": truth.astype(np.float32), "predicted": predicted.astype(np.float32)}


def texts(pairs: list[tuple[str, str]]) -> Statistics:
    references, predicted = np.empty(len(pairs), dtype=object), np.empty(len(pairs), dtype=object)
    for i, (reference, text) in enumerate(pairs):
        references[i], predicted[i] = [reference], text
    score = np.zeros(len(pairs))
    return {
        "present": np.ones(len(pairs), dtype=bool),
        "references": references,
        "predicted": predicted,
        "score": score,
    }


def segments(rows: list[list[tuple[float, ...]]], columns: int) -> np.ndarray:
    result = np.empty(len(rows), dtype=object)
    result[:] = [np.array(row, dtype=float).reshape(-1, columns) for row in rows]
    return result


LABEL = ClassificationTarget(name="y", columns=("y",), classes=("a", "b", "c"), class_counts=(5, 5, 5))
PRICE = RegressionTarget(
    name="y", columns=("y",), mean=(30.0,), std=(40.0,), units=("EUR",),
    scales=(NumberScale(transform="log", center=3.5, scale=1.0),),
)  # fmt: skip


def evaluation_of(target: Target, statistics: Statistics) -> Evaluation:
    return score((target,), np.arange(len(statistics["present"])), {target.name: statistics}, bootstrap=0)


def test_the_mean_of_the_rows_scores_is_the_accuracy() -> None:
    statistics = classes(200)
    rows = task("classification").row_score(LABEL, statistics)
    assert rows.is_share
    assert rows.higher_is_better
    assert np.isnan(rows.values[~statistics["present"]]).all()
    weights = np.ones((1, int(statistics["present"].sum())))
    assert np.nanmean(rows.values) == pytest.approx(TargetScorer(LABEL, statistics)(weights)["accuracy"][0])


def test_the_mean_of_the_rows_scores_is_the_mean_absolute_error() -> None:
    statistics = numbers(200)
    rows = task("regression").row_score(PRICE, statistics)
    assert rows.name == "mean absolute error (EUR)"
    weights = np.ones((1, int(statistics["present"].sum())))
    mae = TargetScorer(PRICE, statistics)(weights)["mae"][0]
    assert np.nanmean(rows.values) == pytest.approx(mae, rel=1e-5)


def test_the_rows_reciprocal_ranks_have_the_metrics_mean() -> None:
    draws = np.random.default_rng(0)
    embeddings = draws.normal(size=(30, 2, 4)).astype(np.float32)
    target = RetrievalTarget(name="space", columns=("a", "b"), members=("a", "b"))
    keys = np.arange(1, 61).reshape(30, 2)
    statistics = {"present": np.ones(30, dtype=bool), "embeddings": embeddings, "keys": keys}
    rows = task("retrieval").row_score(target, statistics)
    metric = TargetScorer(target, statistics)(np.ones((1, 30)))["mean_reciprocal_rank"][0]
    assert rows.values.mean() == pytest.approx(metric)
    groups = named(task("retrieval").mistakes)(target, evaluation_of(target, statistics))
    assert [group.title for group in groups] == ["a that searches for b", "b that searches for a"]
    first = [float(mistake.words.split()[1]) for mistake in groups[0].mistakes]
    assert first == sorted(first, reverse=True)
    assert first[0] > 1


@pytest.mark.parametrize("level", [0.85, 0.95])
def test_sets_of_classes_cover_as_they_promise(level: float) -> None:
    """Over many draws the covered share is at least the level, and not much more."""
    spec, shares, sizes = task("classification"), [], []
    for seed in range(60):
        (sets,) = spec.conformal(LABEL, classes(120, 2 * seed), classes(120, 2 * seed + 1), level)
        shares.append(np.nanmean(sets.covered))
        sizes.append(np.nanmean(sets.sizes))
        assert np.nanmin(sets.sizes) >= 1
    assert level - 0.01 < np.mean(shares) < level + 0.025
    assert np.mean(sizes) < 3


def test_too_few_rows_give_sets_of_all_classes() -> None:
    (sets,) = task("classification").conformal(LABEL, classes(6), classes(50), 0.9)
    assert np.nanmin(sets.sizes) == 3
    assert np.nanmin(sets.covered) == 1
    (sets,) = task("regression").conformal(PRICE, numbers(6), numbers(50), 0.9)
    assert np.isinf(sets.sizes[np.isfinite(sets.covered)]).all()
    assert np.nanmin(sets.covered) == 1


def test_intervals_cover_as_they_promise() -> None:
    spec, shares = task("regression"), []
    for seed in range(60):
        (sets,) = spec.conformal(PRICE, numbers(120, 2 * seed), numbers(120, 2 * seed + 1), 0.9)
        shares.append(np.nanmean(sets.covered))
        assert np.isnan(sets.covered[::7]).all()
    assert 0.89 < np.mean(shares) < 0.925
    # Of a logarithm, they are wide where the numbers are large.
    (one,) = spec.numbers(PRICE, numbers(120))
    assert np.corrcoef(one.predicted[1:7], sets.sizes[1:7])[0, 1] < 1.0


def test_the_most_confident_mistakes_of_each_cell_come_first() -> None:
    statistics = classes(300)
    groups = named(task("classification").mistakes)(LABEL, evaluation_of(LABEL, statistics))
    assert len(groups) == 6
    assert [group.total for group in groups] == sorted((group.total for group in groups), reverse=True)
    wrong = statistics["present"] & (statistics["truth"] != statistics["predicted"])
    assert sum(group.total for group in groups) == wrong.sum()
    for group in groups:
        sure = [float(statistics["probabilities"][mistake.position].max()) for mistake in group.mistakes]
        assert sure == sorted(sure, reverse=True)
        assert all(wrong[mistake.position] for mistake in group.mistakes)


def test_largest_residuals_have_their_sign_and_unit() -> None:
    statistics = numbers(50)
    high, low = named(task("regression").mistakes)(PRICE, evaluation_of(PRICE, statistics))
    residual = (statistics["predicted"] - statistics["truth"])[:, 0]
    assert high.mistakes[0].position == int(np.nanargmax(residual))
    assert low.mistakes[0].position == int(np.nanargmin(residual))
    assert low.mistakes[0].words == f"too low by {-np.nanmin(residual):.4g} EUR"


def test_labels_are_judged_one_by_one() -> None:
    target = MultilabelTarget(name="y", columns=("y",), classes=("red", "big"), class_counts=(5, 5))
    statistics = {
        "present": np.array([True, True, False]),
        "truth": np.array([[True, False], [False, True], [False, False]]),
        "predicted": np.array([[True, True], [False, False], [True, True]]),
        "probabilities": np.array([[0.9, 0.8], [0.2, 0.4], [0.9, 0.9]], dtype=np.float32),
    }
    spec = task("multilabel")
    judged = spec.class_probabilities(target, statistics)
    assert judged.rows.tolist() == [0, 0, 1, 1]
    assert judged.truth.tolist() == [1, 0, 0, 1]
    np.testing.assert_allclose(judged.probabilities[:, 1], [0.9, 0.8, 0.2, 0.4])
    np.testing.assert_allclose(spec.row_score(target, statistics).values, [2 / 3, 0, np.nan])
    groups = named(spec.mistakes)(target, evaluation_of(target, statistics))
    assert {group.title for group in groups} == {
        "big: predicted, and not a label of the row",
        "big: a label of the row, and not predicted",
    }


def test_a_text_that_is_generated_for_several_rows_is_listed_with_them() -> None:
    target = GenerationTarget(name="y", columns=("y",), typical_length=9)
    pairs = [
        ("a red fox", "a dog"),
        ("a blue sea", "a dog"),
        ("a big tree", "a dog"),
        ("a dog", "a dog"),
        ("x y", "x y"),
    ]
    statistics = texts(pairs)
    worst, repeated = named(task("generation").mistakes)(target, evaluation_of(target, statistics))
    assert worst.total == 3
    assert repeated.title == "the same text for several rows: a dog"
    assert repeated.total == 4
    values = task("generation").row_score(target, statistics).values
    np.testing.assert_allclose(values, [0, 0, 0, 1, 1])
    assert task("generation").row_score(target, {"present": statistics["present"]}).values.shape == (5,)


def test_errors_of_segments_have_a_class_and_a_kind() -> None:
    target = TaggingTarget(name="y", columns=("y",), classes=("PER", "LOC"), class_lengths=(0.1, 0.1), over="text")
    truth = [[(0, 3, 0)], [(0, 3, 0)], [(0, 3, 0)], [(0, 3, 0)], []]
    predicted = [[(0, 3, 0, 1.0)], [(0, 5, 0, 1.0)], [(0, 3, 1, 1.0)], [], [(4, 6, 1, 1.0)]]
    statistics = {
        "present": np.ones(5, dtype=bool),
        "length": np.full(5, 10.0),
        "truth": segments(truth, 3),
        "predicted": segments(predicted, 4),
    }
    groups = named(task("tagging").mistakes)(target, evaluation_of(target, statistics))
    assert {(group.title, group.mistakes[0].position) for group in groups} == {
        ("PER: wrong boundary", 1),
        ("PER: predicted as LOC", 2),
        ("PER: missed", 3),
        ("LOC: predicted where there is none", 4),
    }
    np.testing.assert_allclose(task("tagging").row_score(target, statistics).values, [1, 0, 0, 0, 0])


def test_the_worst_masks_of_a_class_come_first() -> None:
    target = SegmentationTarget(name="y", columns=("y",), classes=("sky", "sea"), class_shares=(0.5, 0.5), over="photo")
    statistics = {
        "present": np.ones(3, dtype=bool),
        "truth": np.array([[6, 4], [5, 5], [10, 0]]),
        "predicted": np.array([[6, 4], [9, 1], [8, 2]]),
        "both": np.array([[6, 4], [5, 1], [8, 0]]),
        "num_pixels": np.array([10, 10, 10]),
    }
    np.testing.assert_allclose(task("segmentation").row_score(target, statistics).values, [1.0, 0.6, 0.8])
    groups = named(task("segmentation").mistakes)(target, evaluation_of(target, statistics))
    assert [group.title for group in groups] == [f"class {name}, not right throughout" for name in ("sea", "sky")]
    assert [mistake.position for mistake in groups[0].mistakes] == [2, 1]


def test_nothing_is_listed_where_no_row_has_the_target() -> None:
    nothing = classes(20) | {"present": np.zeros(20, dtype=bool)}
    assert named(task("classification").mistakes)(LABEL, evaluation_of(LABEL, nothing)) == []
    answered = task("classification").class_probabilities
    assert not isinstance(answered, Unsupported)
    assert len(answered(LABEL, nothing).truth) == 0

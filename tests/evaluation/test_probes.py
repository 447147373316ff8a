"""Classifiers on frozen features: each against its definition, draws that are fair, and intervals that are paired."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.evaluation.few_shot import RANDOM, TRAINED, FewShot, measure_shots
from polysense.evaluation.probes import ALL_METHODS, METHODS, balanced_accuracy, centered, classify, draw_shots
from polysense.evaluation.synthesis.smote import smote


def blobs(
    num_rows: int, apart: float, seed: int = 0, num_classes: int = 3, size: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Rows about a center for each class, and their classes."""
    draws = np.random.default_rng(seed)
    centers = np.random.default_rng(99).standard_normal((num_classes, size))
    labels = np.arange(num_rows) % num_classes
    return apart * centers[labels] + draws.standard_normal((num_rows, size)), labels


def ready(*parts: np.ndarray) -> list[np.ndarray]:
    mean = parts[0].mean(axis=0)
    return [centered(part, mean) for part in parts]


@pytest.mark.parametrize("method", [name for name in ALL_METHODS if not name.startswith("gan")])
def test_what_lies_apart_is_told_apart_and_noise_is_not(method: str) -> None:
    for apart, low, high in ((6.0, 0.97, 1.0), (0.0, 0.15, 0.55)):
        (train, labels), (test, truth) = blobs(60, apart), blobs(90, apart, seed=1)
        a, b = ready(train, test)
        found = classify(method, a, labels, b, shots=20)
        assert low <= (found == truth).mean() <= high


def test_prototypes_are_the_nearest_mean() -> None:
    (train, labels), (test, _) = blobs(30, 1.0), blobs(40, 1.0, seed=1)
    a, b = ready(train, test)
    means = np.stack([a[labels == name].mean(axis=0) for name in range(3)])
    expected = np.square(b[:, None] - means).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(classify("prototypes", a, labels, b, shots=10), expected)


def test_one_neighbor_is_the_nearest_row_and_several_vote_by_likeness() -> None:
    (train, labels), (test, _) = blobs(30, 1.0), blobs(40, 1.0, seed=1)
    a, b = ready(train, test)
    found = classify("knn", a, labels, b, shots=1)
    np.testing.assert_array_equal(found, labels[(b @ a.T).argmax(axis=1)])
    # Two rows of class 0 that are little alike do not outvote one of class 1 that is the same.
    rows = np.array([[0.0, 1.0], [0.1, 0.99], [1.0, 0.0]])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert classify("knn", rows, np.array([0, 0, 1]), np.array([[1.0, 0.05]]), shots=3)[0] == 1


def test_the_probe_is_a_logistic_regression_with_a_penalty_chosen_among_the_labeled() -> None:
    from sklearn.linear_model import LogisticRegression

    (train, labels), (test, _) = blobs(3, 2.0), blobs(60, 2.0, seed=1)
    a, b = ready(train, test)
    scale = np.sqrt(a.shape[1])
    # One row per class: nothing can be left out, and the penalty is 1.
    expected = LogisticRegression(C=1.0).fit(a * scale, labels).predict(b * scale)
    np.testing.assert_array_equal(classify("linear_probe", a, labels, b, shots=1), expected)
    # What is tested has no say: each row's class is the same whoever stands beside it.
    (train, labels), (test, _) = blobs(48, 0.5), blobs(60, 0.5, seed=1)
    a, b = ready(train, test)
    together = classify("linear_probe", a, labels, b, shots=16)
    alone = [classify("linear_probe", a, labels, b[i : i + 1], shots=16)[0] for i in range(0, 60, 30)]
    np.testing.assert_array_equal(together[::30], alone)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_without_a_labeled_row_is_never_named(method: str) -> None:
    (train, labels), (test, _) = blobs(30, 1.0), blobs(40, 1.0, seed=1)
    a, b = ready(train[labels != 1], test)
    found = classify(method, a, labels[labels != 1], b, shots=5)
    assert set(found) <= {0, 2}
    only = labels[labels != 1] == 2
    assert (classify(method, a[only], np.full(only.sum(), 2), b, shots=5) == 2).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 9), st.integers(0, 3))
def test_draws_are_balanced_nested_and_the_same_again(labels: list[int], seed: int, draw: int) -> None:
    given_labels = np.array(labels)
    counts = np.bincount(given_labels, minlength=5)
    smaller: set[int] = set()
    for shots in (1, 2, 4, 8):
        rows = draw_shots(given_labels, 5, shots, seed=seed, draw=draw)
        np.testing.assert_array_equal(rows, draw_shots(given_labels, 5, shots, seed=seed, draw=draw))
        np.testing.assert_array_equal(np.bincount(given_labels[rows], minlength=5), np.minimum(counts, shots))
        assert smaller <= set(rows.tolist()), "four shots hold the two"
        smaller = set(rows.tolist())
    assert len(draw_shots(given_labels, 5, None, seed=seed, draw=draw)) == len(labels)


def test_draws_differ() -> None:
    labels = np.repeat(np.arange(3), 20)
    drawn = {tuple(draw_shots(labels, 3, 4, seed=0, draw=draw)) for draw in range(5)}
    assert len(drawn) == 5


def test_balanced_accuracy_is_the_mean_of_the_classes() -> None:
    truth = np.array([0, 0, 0, 0, 2])
    assert balanced_accuracy(np.array([True, True, True, True, False]), truth) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def measured() -> FewShot:
    (train, labels), (test, truth) = blobs(60, 1.2), blobs(60, 1.2, seed=1)
    noise = np.random.default_rng(5).standard_normal((2, 60, 8))
    shots = (1, 4, None)
    scores = measure_shots(
        {TRAINED: train, RANDOM: noise[0]},
        labels,
        {TRAINED: test, RANDOM: noise[1]},
        truth,
        num_classes=3,
        shots=shots,
        methods=METHODS,
        num_draws=5,
        seed=0,
    )
    return FewShot(
        target="<b>kind</b>",
        features="all",
        classes=("x", "<script>", "z"),
        class_counts=(20, 20, 3),
        shots=shots,
        methods=METHODS,
        num_draws=5,
        split="test",
        num_test=60,
        scores=scores,
        majority=1 / 3,
    )


def test_scores_are_means_over_draws_and_gains_are_paired(measured: FewShot) -> None:
    found = measured
    assert len(found.scores) == 2 * 3 * 3
    for method in METHODS:
        ours, random = (found.score(name, method, 4) for name in (TRAINED, RANDOM))
        assert ours.accuracy.value == pytest.approx(np.mean(ours.draws))
        assert len(ours.draws) == 5
        assert ours.accuracy.has_bounds
        assert ours.gain is not None
        assert ours.gain.value == pytest.approx(np.mean(np.subtract(ours.draws, random.draws)))
        assert ours.gain.low > 0
        assert random.gain is None
        everything = found.score(TRAINED, method, None)
        assert len(everything.draws) == 1
        assert everything.accuracy.has_bounds, "over the rows, where there is one draw"
    assert found.chance == pytest.approx(1 / 3)
    assert found.short_classes == {4: {"z": 3}}
    assert any("4 shots" in remark and "z (3)" in remark for remark in found.remarks())


def uneven(counts: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes."""
    labels = np.repeat([0, 1], counts)
    values = np.random.default_rng(seed).standard_normal((len(labels), 6))
    values[:, 0] += 2.0 * labels
    return values, labels


def test_rare_rows_are_recognized_more_often_with_weights_or_made_up_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    (train, labels), (test, truth) = uneven((200, 10), 0), uneven((400, 400), 1)
    a, b = ready(train, test)
    asked: list[list[int]] = []

    def generate(features: np.ndarray, labels: np.ndarray, requested: np.ndarray, *, seed: int) -> np.ndarray:
        asked.append(np.bincount(requested).tolist())
        return smote(features, labels, requested, seed=seed)

    monkeypatch.setattr("polysense.evaluation.probes.generate", generate)
    scores = {
        method: balanced_accuracy(classify(method, a, labels, b, shots=None) == truth, truth)
        for method in ("linear_probe", "balanced_probe", "smote_probe", "smote_only", "gan_probe", "gan_only")
    }
    assert scores["balanced_probe"] > scores["linear_probe"] + 0.1
    assert scores["smote_probe"] > scores["linear_probe"] + 0.1
    # As many made-up rows of each class as there are real ones teach about the same.
    assert abs(scores["smote_only"] - scores["linear_probe"]) < 0.1
    # The GAN stands in the same places: what is missing, and all that there is.
    assert asked == [[0, 190], [200, 10]]
    assert (scores["gan_probe"], scores["gan_only"]) == (scores["smote_probe"], scores["smote_only"])


def test_even_classes_need_no_rows() -> None:
    (train, labels), (test, _) = blobs(30, 1.0), blobs(40, 1.0, seed=1)
    a, b = ready(train, test)
    plain = classify("linear_probe", a, labels, b, shots=10)
    for method in ("balanced_probe", "smote_probe", "gan_probe"):
        np.testing.assert_array_equal(classify(method, a, labels, b, shots=10), plain)

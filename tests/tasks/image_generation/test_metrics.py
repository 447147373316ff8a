"""KID against its formula, copies, and what is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.image_generation.metrics import ImageScorer, copied_below, image_metrics, kernel_differences
from polysense.tasks.image_generation.record import ImageGenerationTarget
from polysense.tasks.image_generation.training_images import TrainingImages, fit_classifier

TARGET = ImageGenerationTarget(
    name="picture", columns=("picture",), image_size=(4, 4), num_channels=1, mean=(0.5,), std=(0.2,),
    shown="kind", shown_classes=("a", "b"),
)  # fmt: skip


def statistics(num: int, shift: float = 0.0, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "present": np.ones(num, dtype=bool),
        "flow_loss": rng.random(num),
        "noise_flow_loss": np.ones(num),
        "features": rng.normal(size=(num, 6)) + shift,
        "true_features": rng.normal(size=(num, 6)),
        "distance": rng.random(num),
        "true_distance": rng.random(num),
        "class": np.arange(num) % 2,
        "shown_class": np.zeros(num, dtype=int),
        "true_shown_class": np.arange(num) % 2,
    }


def direct_kid(x: np.ndarray, y: np.ndarray) -> float:
    """Binkowski et al., 2018, equation 4 with the cross term of paired samples: pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    num, total = len(x), 0.0
    for i in range(num):
        for j in range(num):
            if i != j:
                total += kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
    return total / (num * (num - 1))


@given(st.integers(2, 7), st.integers(0, 5))
def test_kid_is_its_formula_and_weights_repeat_rows(num: int, seed: int) -> None:
    own = statistics(num, 0.5, seed)
    scorer = ImageScorer(TARGET, own)
    assert scorer(np.ones((1, num)))["kid"][0] == pytest.approx(direct_kid(own["true_features"], own["features"]))
    # A row that counts twice is no pair with itself: as in a mean over pairs of different rows, by their weights.
    weights = np.random.default_rng(seed).integers(0, 4, num).astype(float)
    pairs = np.outer(weights, weights) * (1 - np.eye(num))
    if pairs.sum():
        expected = (pairs * kernel_differences(own["true_features"], own["features"])).sum() / pairs.sum()
        assert scorer(weights[None])["kid"][0] == pytest.approx(expected)


def test_kid_is_about_0_of_one_distribution_and_unbiased() -> None:
    values = [ImageScorer(TARGET, statistics(40, 0.0, seed))(np.ones((1, 40)))["kid"][0] for seed in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)
    assert ImageScorer(TARGET, statistics(40, 0.7))(np.ones((1, 40)))["kid"][0] > max(values)


def test_shares_and_skill() -> None:
    own = statistics(10)
    scores = ImageScorer(TARGET, own)(np.ones((1, 10)))
    assert scores["shown_accuracy"][0] == 0.5
    assert scores["true_shown_accuracy"][0] == 1.0
    assert scores["skill"][0] == pytest.approx(1 - own["flow_loss"].mean())
    assert {metric.name for metric in image_metrics(TARGET)} == {*scores}


def test_copies_lie_nearer_than_true_images() -> None:
    own = statistics(100) | {"distance": np.r_[np.zeros(30), np.ones(70)], "true_distance": np.linspace(0.5, 1, 100)}
    assert ImageScorer(TARGET, own)(np.ones((1, 100)))["copied"][0] == pytest.approx(0.3)
    assert np.isnan(copied_below(np.full(3, np.nan)))


def test_nothing_is_said_of_what_was_not_generated() -> None:
    own = {name: statistics(5)[name] for name in ("present", "flow_loss", "noise_flow_loss")}
    scores = ImageScorer(TARGET, own)(np.ones((2, 5)))
    assert np.isfinite(scores["flow_loss"]).all()
    assert all(np.isnan(scores[name]).all() for name in ("kid", "copied", "shown_accuracy"))
    one = ImageScorer(TARGET, statistics(1))(np.ones((1, 1)))
    assert np.isnan(one["kid"]).all()


def test_the_nearest_training_image_and_its_distance() -> None:
    rng = np.random.default_rng(0)
    own, asked = (rng.integers(0, 256, (num, 16), dtype=np.uint8) for num in (9, 5))
    index, distance = TrainingImages(own, np.zeros((4, 0))).nearest(asked)
    exact = np.sqrt(np.square(asked[:, None].astype(float) - own[None]).mean(axis=2))
    np.testing.assert_array_equal(index, exact.argmin(axis=1))
    np.testing.assert_allclose(distance, exact.min(axis=1))
    assert TrainingImages(own, np.zeros((4, 0))).nearest(own[3:4])[1] == 0


def test_the_classifier_tells_uneven_classes_apart() -> None:
    rng = np.random.default_rng(0)
    classes = (np.arange(200) % 10 == 0).astype(int)
    features = rng.normal(size=(200, 5)) + 2 * classes[:, None]
    kept = TrainingImages(np.zeros((1, 4), dtype=np.uint8), fit_classifier(list(features), classes.tolist(), 2))
    shown = kept.classes_of(features)
    assert min((shown == classes)[classes == one].mean() for one in (0, 1)) > 0.9
    none = TrainingImages(np.zeros((1, 4), dtype=np.uint8), fit_classifier([np.zeros(5)], [0], 0))
    assert (none.classes_of(features) == -1).all()

"""The GAN of feature vectors: judged by what a classifier learns from its rows, tested on real ones."""

from __future__ import annotations

import numpy as np
import torch

from polysense.core.random import generator
from polysense.evaluation.synthesis.gan import _Discriminator, generate
from polysense.modalities.audio.features.log_mel import LogMelConfig, LogMelExtractor
from polysense.modalities.audio.record import AudioColumn


def blobs(counts: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    centers = 3 * np.random.default_rng(99).standard_normal((3, 6))
    labels = np.repeat(np.arange(3), counts)
    return centers[labels] + np.random.default_rng(seed).standard_normal((len(labels), 6)), labels


def test_trained_on_synthetic_rows_real_ones_are_told_apart() -> None:
    from sklearn.linear_model import LogisticRegression

    (train, labels), (test, truth) = blobs((120, 60, 12), 0), blobs((80, 80, 80), 1)
    requested = np.repeat(np.arange(3), 60)
    before = torch.random.get_rng_state()
    made = generate(train, labels, requested, seed=0, steps=200)
    assert torch.equal(torch.random.get_rng_state(), before)
    real = LogisticRegression().fit(train, labels).score(test, truth)
    synthetic = LogisticRegression().fit(made, requested).score(test, truth)
    assert real > 0.95
    assert synthetic > 0.9
    # Spread out as the real rows are, not one point for each class; and no copies.
    for name in range(2):
        spread = made[requested == name].std(axis=0).mean() / train[labels == name].std(axis=0).mean()
        assert 0.3 < spread < 2.0
    assert np.abs(made[:, None] - train[None]).max(axis=2).min() > 1e-6


def test_it_is_a_function_of_its_seed() -> None:
    train, labels = blobs((9, 5, 1), 0)
    made = [generate(train, labels, np.array([2, 0]), seed=seed, steps=3) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert made[0].shape == (2, 6)
    assert not np.array_equal(made[0], made[2])


def test_the_discriminators_slope_is_bounded() -> None:
    torch.manual_seed(0)
    judge = _Discriminator(3, 6)
    with torch.no_grad():
        for _ in range(50):  # power iterations
            judge(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]))
    judge.eval()
    first, second = torch.randn(500, 6), torch.randn(500, 6)
    classes = torch.arange(500) % 3
    with torch.no_grad():
        slopes = (judge(first, classes) - judge(second, classes)).abs() / (first - second).norm(dim=1)
    # 1 for the path to "real", and at most 1 for the class's vector.
    assert float(slopes.max()) <= 2.0 + 1e-3


def test_log_mel_spectrograms_of_a_rare_sound() -> None:
    from sklearn.linear_model import LogisticRegression

    extractor = LogMelExtractor(LogMelConfig(num_spans=4, num_mels=8), AudioColumn(name="x", sample_rate=8000))

    def sounds(counts: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
        draws, labels = generator(seed), np.repeat([0, 1], counts)
        tones = [np.sin(2 * np.pi * (300, 1900)[label] * np.arange(1600) / 8000) for label in labels]
        waves = [3000 * tone + 800 * draws.standard_normal(1600) for tone in tones]
        return np.stack([extractor.extract_item(wave.astype(np.int16)) for wave in waves]), labels

    (train, labels), (test, truth) = sounds((60, 6), 0), sounds((30, 30), 1)
    requested = np.repeat([0, 1], 40)
    made = generate(train, labels, requested, seed=0, steps=100)
    assert made.shape == (80, 32)
    assert LogisticRegression().fit(made, requested).score(test, truth) > 0.9

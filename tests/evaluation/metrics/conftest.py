from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target


@pytest.fixture
def classification() -> Callable[[int], Target]:
    def build(num_classes: int) -> Target:
        names = tuple(f"class {i}" for i in range(num_classes))
        return Target(name="y", task=Task.CLASSIFICATION, columns=("y",), classes=names)

    return build


@pytest.fixture
def predict_classes() -> Callable[..., Prediction]:
    def build(truth: np.ndarray, num_classes: int, *, seed: int = 0, decimals: int | None = None) -> Prediction:
        """Probabilities that lean towards the truth; rounded scores have ties."""
        draws = np.random.default_rng(seed)
        scores = draws.normal(size=(len(truth), num_classes))
        scores[np.arange(len(truth)), truth] += 1.0
        if decimals is not None:
            scores = scores.round(decimals)
        probabilities = torch.tensor(scores, dtype=torch.float32).softmax(dim=1)
        return Prediction(probabilities.argmax(dim=1), probabilities)

    return build

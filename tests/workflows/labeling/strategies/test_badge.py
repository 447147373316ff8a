from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.strategies.badge import gradient_factors, k_means_seeds


@pytest.mark.parametrize("kind", ["choice", "labels"])
def test_the_embedding_is_the_gradient_of_the_last_layer_with_the_most_probable_answer_as_label(kind: str) -> None:
    generator = np.random.default_rng(0)
    learner = Learner(generator.normal(size=(9, 4)), num_outputs=3, kind=kind)  # type: ignore[arg-type]
    shape = (6,) if kind == "choice" else (6, 3)
    learner.update(range(6), generator.integers(0, 3 if kind == "choice" else 2, shape))
    learner.scores()
    assert learner._fitted is not None
    errors, inputs = gradient_factors(learner.probabilities(), learner.features.values, learner.kind)
    weight = torch.tensor(learner._fitted[0].T, requires_grad=True)
    bias = torch.tensor(learner._fitted[1], requires_grad=True)
    for row, values in enumerate(torch.from_numpy(learner.features.values).double()):
        logits = F.linear(values, weight, bias)
        if kind == "choice":
            loss = F.cross_entropy(logits[None], logits.argmax()[None])
        else:
            loss = F.binary_cross_entropy_with_logits(logits, (logits > 0).double(), reduction="sum")
        of_weight, of_bias = torch.autograd.grad(loss, (weight, bias))
        expected = torch.cat([of_weight, of_bias[:, None]], dim=1).numpy()
        np.testing.assert_allclose(np.outer(errors[row], inputs[row]), expected, rtol=1e-4, atol=1e-6)


def test_seeds_are_drawn_in_proportion_to_squared_distances() -> None:
    generator = np.random.default_rng(1)
    errors, inputs = generator.normal(size=(5, 2)), generator.normal(size=(5, 3))
    embedding = np.einsum("ro,ri->roi", errors, inputs).reshape(5, -1)
    first = (embedding**2).sum(axis=1)
    pairs = ((embedding[:, None] - embedding) ** 2).sum(axis=2)
    expected = (first / first.sum())[:, None] * pairs / pairs.sum(axis=1, keepdims=True)
    drawn, num = np.zeros((5, 5)), 4_000
    for _ in range(num):
        drawn[tuple(k_means_seeds(errors, inputs, 2, generator))] += 1
    errors_of_shares = np.sqrt(expected * (1 - expected) / num)
    assert (np.abs(drawn / num - expected) <= 4 * errors_of_shares + 1e-9).all()
    assert drawn.trace() == 0


def test_where_all_embeddings_are_one_rows_are_drawn_by_chance() -> None:
    chosen = [k_means_seeds(np.zeros((6, 2)), np.ones((6, 2)), 6, np.random.default_rng(k)).tolist() for k in range(5)]
    assert all(sorted(each) == list(range(6)) for each in chosen)
    assert len({tuple(each) for each in chosen}) > 1

"""SMOTE against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polysense.evaluation.synthesis.smote import smote


@given(seed=st.integers(0, 99), num_rows=st.integers(1, 12), neighbors=st.integers(1, 5), num_made=st.integers(0, 30))
def test_every_row_lies_between_a_row_and_one_of_its_nearest(
    seed: int, num_rows: int, neighbors: int, num_made: int
) -> None:
    draws = np.random.default_rng(seed)
    features, labels = draws.normal(size=(num_rows + 5, 4)), np.array([1] * num_rows + [0] * 5)
    made = smote(features, labels, np.ones(num_made, dtype=np.int64), seed=seed, neighbors=neighbors)
    own = features[:num_rows]
    distances = np.linalg.norm(own[:, None] - own[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    begins = np.zeros(num_rows, dtype=int)
    for row in made:
        fits = []
        for a in range(num_rows):
            near = np.argsort(distances[a])[: min(neighbors, num_rows - 1)]
            for b in [a] if num_rows == 1 else near.tolist():
                line = own[b] - own[a]
                share = 0.0 if num_rows == 1 else float((row - own[a]) @ line / (line @ line))
                if np.allclose(own[a] + share * line, row, atol=1e-9) and -1e-9 <= share <= 1 + 1e-9:
                    fits.append(a)
        assert fits, "on no line between a row of the class and one of its nearest"
        begins[fits[0]] += len(set(fits)) == 1
    # Each row begins as many lines as the others, to within one; a line may be one of two rows, which are not counted.
    assert begins.max(initial=0) <= -(-num_made // num_rows)


def test_it_is_a_function_of_its_seed_and_makes_what_is_asked_for() -> None:
    features = np.random.default_rng(0).normal(size=(20, 3)) + 10 * (np.arange(20) % 2)[:, None]
    labels, requested = np.arange(20) % 2, np.array([1, 0, 1, 1, 0, 1])
    made = smote(features, labels, requested, seed=1)
    np.testing.assert_array_equal(made, smote(features, labels, requested, seed=1))
    assert not np.array_equal(made, smote(features, labels, requested, seed=2))
    np.testing.assert_array_equal(made.mean(axis=1) > 5, requested == 1)

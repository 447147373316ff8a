"""What is shown of a search is what the metrics count."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.tasks.retrieval.metrics import RetrievalScorer
from polysense.tasks.retrieval.nearest import can_search, nearest


def space(num_rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Places and keys; two rows hold one text, one lacks its picture."""
    draws = np.random.default_rng(0)
    embeddings = draws.standard_normal((num_rows, 2, 6)).astype(np.float32)
    embeddings[:, 1] = embeddings[:, 0] + 0.8 * embeddings[:, 1]
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    keys = np.arange(1, 2 * num_rows + 1).reshape(num_rows, 2)
    keys[4, 1], embeddings[4, 1] = keys[9, 1], embeddings[9, 1]
    keys[7, 0], embeddings[7, 0] = 0, np.nan
    return embeddings, keys


def test_it_agrees_with_the_metrics() -> None:
    embeddings, keys = space()
    present = np.ones(len(embeddings), dtype=bool)
    scores = RetrievalScorer(embeddings, keys, present, ("photo", "text"))(np.ones((1, len(embeddings))))
    for one, other, name in ((0, 1, "photo to text"), (1, 0, "text to photo")):
        rows = can_search(embeddings, keys, present, one, other)
        assert 7 not in rows
        found = nearest(embeddings, keys, (one, other), rows, 5, column="c")
        assert np.median([each.rank for each in found]) == scores[f"median_rank/{name}"][0]
        assert np.mean([any(each.correct) for each in found]) == pytest.approx(scores[f"recall_at_5/{name}"][0])
        assert np.mean([each.correct[0] for each in found]) == pytest.approx(scores[f"recall_at_1/{name}"][0])
    assert nearest(embeddings, keys, (0, 1), [], 5, column="c") == []


def test_a_text_that_comes_twice_is_found_once_and_right_for_both() -> None:
    embeddings, keys = space()
    found = {each.position: each for each in nearest(embeddings, keys, (0, 1), [4, 9], 29, column="c")}
    assert found[4].num_candidates == 29
    assert found[4].best_correct == found[9].best_correct == 4
    assert sum(found[9].correct) == 1
    assert list(found[4].similarities) == sorted(found[4].similarities, reverse=True)

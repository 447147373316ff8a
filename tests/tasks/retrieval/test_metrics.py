"""Searching a joint embedding space: against plain loops, equal places are chance, what is the same counts as found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_statistics import statistics_of
from sklearn.metrics import average_precision_score

from polysense.evaluation.baselines import constant_baseline
from polysense.evaluation.evaluator import score
from polysense.evaluation.metrics.geometry import effective_rank, uniformity
from polysense.evaluation.target_metrics import headline_metric, metrics_of, selection_metric
from polysense.tasks.retrieval.metrics import RetrievalScorer, directions
from polysense.tasks.retrieval.record import RetrievalTarget

MEMBERS = ("a", "b")
TARGET = RetrievalTarget(name="space", columns=MEMBERS, members=MEMBERS)


def sphere(rows: int, size: int = 8, columns: int = 2, seed: int = 0) -> np.ndarray:
    embeddings = np.random.default_rng(seed).normal(size=(rows, columns, size)).astype(np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=2, keepdims=True)


def own_keys(rows: int, columns: int = 2) -> np.ndarray:
    return np.arange(1, rows * columns + 1).reshape(rows, columns)


def values(
    embeddings: np.ndarray, keys: np.ndarray, present: np.ndarray | None = None, **more: Any
) -> dict[str, float]:
    present = np.ones(len(embeddings), dtype=bool) if present is None else present
    members = tuple("abcd"[: embeddings.shape[1]])
    found = RetrievalScorer(embeddings, keys, present, members, **more)(np.ones((1, int(present.sum()))))
    return {name: float(value[0]) for name, value in found.items()}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(2, 14),
    seed=st.integers(0, 99),
    groups=st.integers(1, 20),
    texts=st.integers(1, 20),
    gone=st.lists(st.integers(0, 13), max_size=3),
)
def test_against_plain_loops(rows: int, seed: int, groups: int, texts: int, gone: list[int]) -> None:
    draws = np.random.default_rng(seed)
    embeddings = sphere(rows, seed=seed)
    keys = np.stack(
        [np.arange(1, rows + 1), 1 + draws.integers(0, texts, rows), 1 + draws.integers(0, groups, rows)], axis=1
    )
    for i in range(rows):  # the same cell lies in the same place
        embeddings[i, 1] = embeddings[np.flatnonzero(keys[:, 1] == keys[i, 1])[0], 1]
    for row in gone:
        if row < rows:
            embeddings[row, 0], keys[row, 0] = np.nan, 0
    there = ~np.isnan(embeddings).any(axis=2)
    found = values(embeddings, keys, there.all(axis=1))
    if not there.all(axis=1).any():
        assert math.isnan(found["recall_at_1"])
        return
    for a, b in ((0, 1), (1, 0)):
        pool = sorted({int(keys[j, b]) for j in range(rows) if there[j, b]})
        ranks, precisions = [], []
        for i in range(rows):
            if not there[i].all():
                continue
            matches = {
                int(keys[j, b])
                for j in range(rows)
                if there[j, b] and any(keys[i, k] == keys[j, k] != 0 for k in (0, 1, 2))
            }
            scores = []
            for key in pool:
                j = next(j for j in range(rows) if there[j, b] and keys[j, b] == key)
                scores.append(float(embeddings[i, a] @ embeddings[j, b]))
            right = np.array([key in matches for key in pool])
            order = np.argsort(-np.array(scores))
            ranks.append(1 + int(np.flatnonzero(right[order])[0]))
            precisions.append(average_precision_score(right, scores))
        name = f"{'ab'[a]} to {'ab'[b]}"
        for depth in (1, 5, 10):
            expected = np.mean([rank <= depth for rank in ranks])
            assert found[f"recall_at_{depth}/{name}"] == pytest.approx(expected)
        assert found[f"median_rank/{name}"] == pytest.approx(np.median(ranks))
        assert found[f"mean_reciprocal_rank/{name}"] == pytest.approx(np.mean(1 / np.array(ranks)))
        assert found[f"mean_average_precision/{name}"] == pytest.approx(np.mean(precisions), rel=1e-5)
    both = [found["recall_at_1/a to b"], found["recall_at_1/b to a"]]
    assert found["recall_at_1"] == pytest.approx(np.mean(both))


def test_one_place_for_all_is_chance() -> None:
    found = values(np.ones((40, 2, 1), dtype=np.float32), own_keys(40))
    assert found["recall_at_1"] == pytest.approx(1 / 40)
    assert found["recall_at_5"] == pytest.approx(5 / 40)
    assert found["median_rank"] == pytest.approx(20.5)
    assert found["mean_reciprocal_rank"] == pytest.approx(np.mean(1 / np.arange(1, 41)))
    assert found["mean_average_precision"] == pytest.approx(1 / 40)
    # With groups of 4 among 40: the first of 4 right ones in a random order.
    keys = np.column_stack([own_keys(40), 1 + np.arange(40) // 4])
    found = values(np.ones((40, 2, 1), dtype=np.float32), keys)
    assert found["recall_at_5"] == pytest.approx(1 - math.comb(36, 5) / math.comb(40, 5))
    expected = sum(math.comb(40 - r, 3) / math.comb(40, 4) / r for r in range(1, 38))
    assert found["mean_reciprocal_rank"] == pytest.approx(expected)


def test_random_places_find_by_chance() -> None:
    found = [values(sphere(400, seed=seed), own_keys(400)) for seed in range(8)]
    assert np.mean([one["recall_at_10"] for one in found]) == pytest.approx(10 / 400, abs=0.01)
    assert np.mean([one["median_rank"] for one in found]) == pytest.approx(200.5, abs=12)


def test_a_caption_that_comes_again_is_one_candidate() -> None:
    embeddings = sphere(6)
    embeddings[1:3, 1] = embeddings[0, 1]
    embeddings[:, 0] = embeddings[:, 1]
    keys = own_keys(6)
    keys[1:3, 1] = keys[0, 1]
    found = values(embeddings, keys)
    assert found["recall_at_1"] == 1
    assert found["median_rank"] == 1


def test_who_lacks_a_column_is_found_and_does_not_look() -> None:
    embeddings, keys = sphere(3), own_keys(3)
    embeddings[:, 0] = embeddings[:, 1]
    embeddings[2, 0], keys[2, 0] = np.nan, 0
    embeddings[1, 0] = embeddings[2, 1]  # row 1's picture looks like row 2's text, which has no picture
    found = values(embeddings, keys, np.array([True, True, False]))
    assert found["recall_at_1/a to b"] == 0.5


def test_an_anchor_is_in_every_direction() -> None:
    assert directions(("a", "b", "c"), "b") == ((0, 1), (1, 0), (1, 2), (2, 1))
    target = RetrievalTarget(name="s", columns=tuple("abc"), members=tuple("abc"), anchor="b")
    names = [info.name for info in metrics_of(target)]
    assert "recall_at_1/a to b" in names
    assert "recall_at_1/a to c" not in names
    assert set(values(sphere(5, columns=3), own_keys(5, 3), anchor="b")) == set(names)


def test_the_shape_of_the_space() -> None:
    embeddings = sphere(50)[:, 0].astype(np.float64)
    gaps = [np.square(x - y).sum() for i, x in enumerate(embeddings) for j, y in enumerate(embeddings) if i != j]
    assert uniformity(embeddings) == pytest.approx(math.log(np.mean(np.exp(-2 * np.array(gaps)))), rel=1e-4)
    assert uniformity(np.ones((5, 1))) == pytest.approx(0, abs=1e-6)
    assert math.isnan(uniformity(embeddings[:1]))
    assert effective_rank(np.ones((9, 1))) == pytest.approx(1)
    assert effective_rank(np.eye(6)) == pytest.approx(6)
    values_ = np.linalg.svd(embeddings, compute_uv=False)
    shares = values_ / values_.sum()
    assert effective_rank(embeddings) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    pair = sphere(20)
    found = values(pair, own_keys(20))
    assert found["alignment"] == pytest.approx(np.square(pair[:, 0] - pair[:, 1]).sum(axis=1).mean(), rel=1e-5)


def test_scores_come_with_intervals_and_chance_beside_them() -> None:
    embeddings = torch.from_numpy(sphere(30))
    embeddings[:, 0] = embeddings[:, 1] + 0.2 * embeddings[:, 0]
    statistics = {"space": statistics_of(TARGET, {"values": embeddings}, own_keys(30))}
    found = score([TARGET], np.arange(30), statistics, bootstrap=200)
    best = found.metrics["space"]["mean_reciprocal_rank"]
    assert best.has_bounds
    assert best.low <= best.value <= best.high
    assert not found.metrics["space"]["uniformity/a"].has_bounds
    assert found.metrics["space"]["median_rank"].has_bounds
    chance = constant_baseline(found, bootstrap=0)
    assert chance.value("space", "recall_at_1") == pytest.approx(1 / 30)
    assert found.value("space", "recall_at_1") > 10 / 30
    assert headline_metric(TARGET).name == "recall_at_1"
    assert selection_metric(TARGET).name == "mean_reciprocal_rank"


def test_nothing_to_find_has_no_value_and_says_why() -> None:
    nothing, nowhere = np.zeros((3, 2), dtype=np.int64), {"values": torch.full((3, 2, 4), torch.nan)}
    none = {"space": statistics_of(TARGET, nowhere, nothing, np.zeros(3, dtype=bool))}
    found = score([TARGET], np.arange(3), none, bootstrap=10)
    assert math.isnan(found.value("space", "recall_at_1"))
    assert found.undefined["space"]["recall_at_1"] == "no row has this target"

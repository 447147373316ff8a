"""Ranking metrics against an implementation of their definitions, user by user; ties; and the bootstrap over users."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.tasks.ranking.metrics import CUTOFFS, RankingScorer, as_baseline, ranking_metrics

NUM_ITEMS = 40


def statistics(num_rows: int, num_users: int, seed: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    ties = np.where(draws.random(num_rows) < 0.5, 1, draws.integers(1, 9, num_rows))
    listed = np.stack([draws.permutation(NUM_ITEMS)[:30] + 1 for _ in range(num_rows)])
    return {
        "present": np.ones(num_rows, dtype=bool),
        "user": draws.integers(0, num_users, num_rows),
        "rank": (draws.integers(0, NUM_ITEMS - 9, num_rows) + (ties + 1) / 2).astype(np.float32),
        "ties": ties.astype(np.float32),
        "rank_alike": draws.integers(1, NUM_ITEMS, num_rows).astype(np.float32),
        "ties_alike": np.ones(num_rows, dtype=np.float32),
        "item_count": draws.integers(0, 3, num_rows),
        "user_count": draws.integers(0, 3, num_rows),
        "listed": listed,
        "popularity": draws.random((num_rows, 30)).astype(np.float32),
    }


def places(own: dict[str, np.ndarray], row: int) -> list[int]:
    """The places that the row's item has, each with the same chance."""
    first = float(own["rank"][row]) - (float(own["ties"][row]) - 1) / 2
    return [round(first) + i for i in range(int(own["ties"][row]))]


def by_definition(own: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    """Each user's lists once more, in plain loops; rows may stand there several times, as whole users."""
    users: dict[tuple[int, int], list[int]] = {}
    drawn: dict[int, int] = {}
    for row in rows.tolist():
        copy = drawn[row] = drawn.get(row, -1) + 1
        users.setdefault((int(own["user"][row]), copy), []).append(row)
    values: dict[str, list[float]] = {}
    for chosen in users.values():
        ranks = [places(own, row) for row in chosen]
        first = places(own, min(chosen, key=lambda row: (own["rank"][row], row)))
        for k in CUTOFFS:
            gains = sum(float(np.mean([(rank <= k) / np.log2(1 + rank) for rank in each])) for each in ranks)
            best = sum(1 / np.log2(2 + i) for i in range(min(len(ranks), k)))
            hits = [float(np.mean([rank <= k for rank in each])) for each in ranks]
            values.setdefault(f"recall_at_{k}", []).append(float(np.mean(hits)))
            values.setdefault(f"ndcg_at_{k}", []).append(gains / best)
            values.setdefault(f"hit_rate_at_{k}", []).append(float(np.mean([rank <= k for rank in first])))
        values.setdefault("mean_reciprocal_rank", []).append(float(np.mean([1 / rank for rank in first])))
        popular = [own["popularity"][row][:20].astype(np.float64).mean() * NUM_ITEMS for row in chosen]
        values.setdefault("popularity_at_20", []).append(float(np.mean(popular)))
        for name, kind in (("warm", True), ("cold", False)):
            for side in ("item", "user"):
                mine = [row for row in chosen if bool(own[f"{side}_count"][row] > 0) == kind]
                if mine:
                    hits = [float(np.mean([rank <= 20 for rank in places(own, row)])) for row in mine]
                    values.setdefault(f"recall_at_20_{name}_{side}s", []).append(float(np.mean(hits)))
        cold = [float(own["rank_alike"][row] <= 20) for row in chosen if own["item_count"][row] == 0]
        if cold:
            values.setdefault("recall_at_20_among_cold_items", []).append(float(np.mean(cold)))
    means = {name: float(np.mean(each)) for name, each in values.items()}
    covered = {item for row in rows for item in own["listed"][row][:20].tolist()}
    return {**means, "coverage_at_20": len(covered) / NUM_ITEMS}


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_metric_is_its_definition(num_rows: int, num_users: int, seed: int) -> None:
    own = statistics(num_rows, num_users, seed)
    results = RankingScorer(own, NUM_ITEMS)(np.ones((1, num_rows)))
    expected = by_definition(own, np.arange(num_rows))
    assert {metric.name for metric in ranking_metrics()} == set(results)
    for name, values in results.items():
        if name in expected:
            assert values[0] == pytest.approx(expected[name], abs=1e-9), name
        else:
            assert np.isnan(values[0]), f"{name} is of rows that are not there"


def test_a_resample_of_users_is_those_users() -> None:
    own = statistics(30, 6, 1)
    _, users = np.unique(own["user"], return_inverse=True)
    drawn = np.array([2, 0, 1, 3, 0, 0])[: users.max() + 1]
    weights = drawn[users].astype(np.float64)[None]
    rows = np.repeat(np.arange(30), drawn[users])
    results = RankingScorer(own, NUM_ITEMS)(weights)
    for name, value in by_definition(own, rows).items():
        assert results[name][0] == pytest.approx(value, abs=1e-9), name


def test_an_item_outside_the_catalogue_is_missed_and_is_no_cold_item() -> None:
    own = statistics(2, 1, 0)
    own |= {
        "user": np.array([1, 2]),
        "rank": np.array([1.0, np.inf], dtype=np.float32),
        "rank_alike": np.array([1.0, np.inf], dtype=np.float32),
        "ties": np.ones(2, dtype=np.float32),
        "item_count": np.array([5, 0]),
    }
    results = RankingScorer(own, NUM_ITEMS)(np.ones((1, 2)))
    assert results["recall_at_5"][0] == 0.5
    assert results["mean_reciprocal_rank"][0] == 0.5
    assert np.isnan(results["recall_at_20_cold_items"][0])


def test_a_ranking_that_knows_nothing_is_at_chance() -> None:
    own = statistics(6, 6, 0)
    own |= {"rank": np.full(6, (NUM_ITEMS + 1) / 2), "ties": np.full(6, float(NUM_ITEMS)), "user": np.arange(6)}
    results = RankingScorer(own, NUM_ITEMS)(np.ones((1, 6)))
    assert results["recall_at_10"][0] == pytest.approx(10 / NUM_ITEMS)
    assert results["mean_reciprocal_rank"][0] == pytest.approx(np.mean(1 / np.arange(1, NUM_ITEMS + 1)))


def test_a_baseline_stands_in_the_models_place() -> None:
    own = statistics(8, 3, 0)
    own["popularity_rank"] = own["popularity_ties"] = np.ones(8, dtype=np.float32)
    results = RankingScorer(as_baseline(own, "popularity"), NUM_ITEMS)(np.ones((1, 8)))
    assert results["hit_rate_at_5"][0] == 1.0
    assert results["mean_reciprocal_rank"][0] == 1.0

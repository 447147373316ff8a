from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from drawn import DIM, draw, unit

from polysense.errors import SearchError
from polysense.search.exact import best_rows, nearest_rows, pairs_of_rows
from polysense.search.table import ROW_ID, Rows


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = unit(draw(3000, 1)).astype(np.float32), unit(draw(5, 2)).astype(np.float32)
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    even = np.arange(3000) % 2 == 0
    for block, at_once in ((16_384, 256), (101, 2)):
        monkeypatch.setattr("polysense.search.exact._BLOCK", block)
        monkeypatch.setattr("polysense.search.exact._QUERIES_AT_ONCE", at_once)
        for allowed in (None, even, np.arange(3000) < 3, np.zeros(3000, dtype=bool)):
            nearest = nearest_rows(queries, vectors, allowed, 7)
            for row, positions in zip(scores, nearest, strict=True):
                row = row if allowed is None else np.where(allowed, row, -np.inf)
                count = min(7, 3000 if allowed is None else int(allowed.sum()))
                assert sorted(positions) == sorted(np.argsort(-row)[:count])


def test_equal_scores_are_ordered_by_row_id() -> None:
    rows = Rows(np.ones((4, 2), dtype=np.float32), pl.DataFrame({ROW_ID: ["d", "b", "a", "c"]}))
    best = best_rows(np.ones(2, dtype=np.float32), rows, 3)
    assert best[ROW_ID].to_list() == ["a", "b", "c"]
    assert best["score"].to_list() == [2.0, 2.0, 2.0]


def test_duplicates_are_all_pairs_above_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.search.exact._PAIR_BLOCK", 7)
    vectors = np.concatenate([draw(59), draw(60)[5:6] * 3, draw(60)[9:10] + 1e-3])
    ids = pl.Series([*range(59), 100, 3000])
    cosines = unit(vectors) @ unit(vectors).T
    for threshold in (-1.0, 0.3, 0.9999):
        pairs = pairs_of_rows(vectors, ids, threshold, limit=10_000)
        expected = {
            tuple(sorted((ids[a], ids[b])))
            for a in range(len(ids))
            for b in range(a)
            if cosines[a, b] >= threshold
        }  # fmt: skip
        assert set(pairs.select("first", "second").iter_rows()) == expected
        assert pairs["score"].is_sorted(descending=True)
    assert pairs.select("first", "second").rows() == [(5, 100), (9, 3000)]
    np.testing.assert_allclose(pairs["score"], [1.0, cosines[9, 60]])


def test_duplicates_are_limited() -> None:
    vectors, ids = draw(60), pl.Series(range(60))
    with pytest.raises(SearchError, match="more than 10 pairs"):
        pairs_of_rows(vectors, ids, -1.0, limit=10)
    with pytest.raises(SearchError, match="found 2"):
        pairs_of_rows(vectors, ids, 2.0, limit=10)
    nothing = pairs_of_rows(np.zeros((0, DIM), np.float32), pl.Series([], dtype=pl.String), 0.5, limit=10)
    assert nothing.schema == {"first": pl.String, "second": pl.String, "score": pl.Float64}

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from drawn import DIM, draw, unit

from polysense.errors import SearchError
from polysense.search.duplicates import pairs_of_rows


def test_duplicates_are_all_pairs_above_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.search.duplicates._BLOCK", 7)
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


def test_limits() -> None:
    vectors, ids = draw(60), pl.Series(range(60))
    with pytest.raises(SearchError, match="more than 10 pairs"):
        pairs_of_rows(vectors, ids, -1.0, limit=10)
    with pytest.raises(SearchError, match="found 2"):
        pairs_of_rows(vectors, ids, 2.0, limit=10)
    nothing = pairs_of_rows(np.zeros((0, DIM), np.float32), pl.Series([], dtype=pl.String), 0.5, limit=10)
    assert nothing.schema == {"first": pl.String, "second": pl.String, "score": pl.Float64}

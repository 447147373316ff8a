from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from drawn import draw, unit

from polysense.search.exact import best_rows, nearest_rows
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

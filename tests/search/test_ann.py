from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import draw

from polysense.search import RecallReport, VectorIndex

DIM = 16
NUM = 3000


def clustered(count: int, seed: int) -> np.ndarray:
    centers = np.random.default_rng(0).standard_normal((30, DIM))
    draws = np.random.default_rng(seed)
    return (centers[draws.integers(0, 30, count)] + 0.4 * draws.standard_normal((count, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ann") / "index"
    with pytest.MonkeyPatch.context() as patch, VectorIndex.create(folder, dim=DIM) as index:
        patch.setattr("polysense.search.ann._ROWS_PER_PARTITION", 100)
        index.add(np.arange(NUM), clustered(NUM, 1), {"part": [i % 100 for i in range(NUM)]})
        index.build_ann()
    return folder


def recall(index: VectorIndex, queries: np.ndarray, condition: str | None = None) -> float:
    near = index.search(queries, 10, exact=False, filter=condition)
    truth = index.search(queries, 10, exact=True, filter=condition)
    assert all(len(a) == len(b) for a, b in zip(near, truth, strict=True))
    return float(np.mean([len({*a.ids} & {*b.ids}) / len(b) for a, b in zip(near, truth, strict=True)]))


def test_recall_is_measured_and_holds_on_other_queries(folder: Path) -> None:
    index = VectorIndex.open(folder)
    report = index.ann
    assert report is not None
    assert 0.95 <= report.recall <= 1.0
    assert report.nprobes < NUM // 100, "not every partition is read"
    assert report.num_queries == 200
    assert recall(index, clustered(200, 7)) == pytest.approx(report.recall, abs=0.04)
    result = index.search(clustered(3, 7), 10, exact=False)
    assert all(one.approximate for one in result)
    # Scores are those of exact search.
    for one, every in zip(result, index.search(clustered(3, 7), NUM, exact=True), strict=True):
        scores = dict(zip(every.ids, every.scores.tolist(), strict=True))
        assert one.scores.tolist() == [scores[row] for row in one.ids]


def test_a_row_is_no_hit_of_its_own_query(tmp_path: Path) -> None:
    """With ten neighbors that no search can miss but the row itself, recall is counted over the others alone."""
    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add(np.arange(5), clustered(5, 1))
        assert index.build_ann().recall == 1.0
        index.delete([1, 2, 3, 4])
        assert index.build_ann().recall == 0.0, "a row alone has no neighbors to find"


@pytest.mark.parametrize(
    ("condition", "rows"), [("part < 60", 60), ("part < 10", 10), ("part = 3", 1), ("part = 1000", 0)]
)
def test_a_filter_never_leaves_fewer_than_there_are(folder: Path, condition: str, rows: int) -> None:
    index, queries = VectorIndex.open(folder), clustered(10, 8)
    for one in index.search(queries, 40, exact=False, filter=condition):
        assert len(one) == min(40, rows * NUM // 100)
    if rows:
        assert recall(index, queries, condition) >= 0.9
    (every,) = index.search(queries[:1], NUM + 5, exact=False)
    assert sorted(map(int, every.ids)) == list(range(NUM))


@pytest.mark.parametrize("recall_and_time", [(0.94, 1.0), (0.99, 10.0)])
def test_it_is_used_only_where_it_was_measured_to_be_good_and_faster(
    folder: Path, monkeypatch: pytest.MonkeyPatch, recall_and_time: tuple[float, float]
) -> None:
    index = VectorIndex.open(folder)
    good = RecallReport(nprobes=8, refine_factor=2, recall=0.95, num_queries=9, exact_ms=9.0, ann_ms=1.0)
    monkeypatch.setattr(VectorIndex, "ann", good)
    assert index.search(clustered(1, 8), 3)[0].approximate
    recall, time = recall_and_time
    bad = RecallReport(nprobes=8, refine_factor=2, recall=recall, num_queries=9, exact_ms=9.0, ann_ms=time)
    monkeypatch.setattr(VectorIndex, "ann", bad)
    assert "exact search stays the default" in bad.text()
    assert not index.search(clustered(1, 8), 3)[0].approximate
    assert index.search(clustered(1, 8), 3, exact=False)[0].approximate


def test_rows_that_came_or_went_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.search.ann._ROWS_PER_PARTITION", 100)
    queries = clustered(5, 9)
    with VectorIndex.create(tmp_path / "i", dim=DIM, metric="inner_product") as index:
        index.add(np.arange(NUM), clustered(NUM, 1))
        assert index.build_ann(queries=clustered(30, 12)).num_queries == 30
        best = {one.ids[0] for one in index.search(queries, 1)}
        index.delete(sorted(best))  # type: ignore[type-var]
        index.add(np.arange(NUM, NUM + 5), 9 * queries)
        index.update([7], 20 * queries[:1])
        for compacted in (False, True):
            result = index.search(queries, 5, exact=False)
            assert result[0].ids[:2] == [7, NUM]
            assert all(NUM + number in one.ids for number, one in enumerate(result))
            assert all(not best & {*one.ids} for one in result)
            if not compacted:
                index.compact()
        assert index.ann is not None
    assert VectorIndex.open(tmp_path / "i").search(queries, 5, exact=False)[0].ids[:2] == [7, NUM]


@pytest.mark.parametrize(("dim", "more_effort"), [(8, True), (5, False)])
def test_short_vectors(tmp_path: Path, dim: int, more_effort: bool) -> None:
    """A bit for each of few numbers says little, so more rows are scored; where 8 is no divisor, whole vectors are."""
    with VectorIndex.create(tmp_path / "i", dim=dim) as index:
        index.add(np.arange(2000), draw(2000, dim=dim))
        report = index.build_ann()
        assert report.recall >= 0.95
        assert (report.refine_factor > 2) == more_effort

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from polysense.errors import DependencyError, SearchError
from polysense.search import VectorIndex

DIM = 16
NUM = 3000


def clustered(count: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(0).standard_normal((30, DIM))
    draws = np.random.default_rng(seed)
    return (centres[draws.integers(0, 30, count)] + 0.4 * draws.standard_normal((count, DIM))).astype(np.float32)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VectorIndex:
    # So that the graph is walked although the rows are few.
    monkeypatch.setattr("polysense.search.answer._FEW_ROWS", 50)
    made = VectorIndex.create(tmp_path / "index", dim=DIM)
    made.add(np.arange(NUM), clustered(NUM, 1), {"part": [i % 100 for i in range(NUM)]})
    made.build_graph()
    return made


def recall(index: VectorIndex, queries: np.ndarray, condition: str | None = None) -> float:
    near = index.search(queries, 10, exact=False, filter=condition)
    true = index.search(queries, 10, exact=True, filter=condition)
    assert all(len(a) == len(b) for a, b in zip(near, true, strict=True))
    return float(np.mean([len({*a.ids} & {*b.ids}) / len(b) for a, b in zip(near, true, strict=True)]))


def test_recall_is_measured_and_holds_on_other_queries(index: VectorIndex) -> None:
    graph = index.graph
    assert graph is not None
    assert graph.recall >= 0.95
    assert (graph.num_rows, graph.num_queries) == (NUM, 200)
    assert recall(index, clustered(200, 7)) == pytest.approx(graph.recall, abs=0.04)
    found = index.search(clustered(3, 7), 10, exact=False)
    assert all(one.approximate for one in found)
    # What is found is scored as exact search scores it.
    true = index.search(clustered(3, 7), NUM)
    for one, every in zip(found, true, strict=True):
        scores = dict(zip(every.ids, every.scores.tolist(), strict=True))
        assert one.scores.tolist() == [scores[row] for row in one.ids]


def test_a_graph_after_reopening(index: VectorIndex) -> None:
    queries = clustered(20, 7)
    before = index.search(queries, 10, exact=False)
    after = VectorIndex.open(index.folder).search(queries, 10, exact=False)
    assert [one.ids for one in before] == [one.ids for one in after]


@pytest.mark.parametrize("condition", ["part < 60", "part < 10", "part = 3", "part = 1000"])
def test_a_filter_never_leaves_fewer_than_there_are(index: VectorIndex, condition: str) -> None:
    queries = clustered(10, 8)
    share = {"part < 60": 60, "part < 10": 10, "part = 3": 1, "part = 1000": 0}[condition]
    for one in index.search(queries, 40, exact=False, filter=condition):
        assert len(one) == min(40, share * NUM // 100)
    if share:
        assert recall(index, queries, condition) >= 0.9


def test_k_beyond_what_a_walk_keeps(index: VectorIndex) -> None:
    (found,) = index.search(clustered(1, 8), NUM + 5, exact=False)
    assert sorted(map(int, found.ids)) == list(range(NUM))


def test_rows_that_came_or_went_after_the_graph(index: VectorIndex) -> None:
    queries = clustered(5, 9)
    best = [one.ids[0] for one in index.search(queries, 1)]
    index.delete(best)  # type: ignore[arg-type]
    index.add(np.arange(NUM, NUM + 5), queries)
    index.update([7], queries[:1])
    found = index.search(queries, 5, exact=False)
    assert [one.ids[0] for one in found] == [7, *range(NUM + 1, NUM + 5)]
    assert found[0].ids[1] == NUM
    assert all(not {*best} & {*one.ids} for one in found)
    assert recall(index, queries) >= 0.9

    graph = index.build_graph()  # deleted rows are in the way: everything is written and built again
    assert index.num_deleted == 0
    assert graph.num_rows == len(index)
    index.add([10_000], queries[:1] * 2)
    graph = index.build_graph()  # only added to
    assert (graph.num_segments, graph.num_rows) == (2, len(index))
    assert recall(index, queries) >= 0.9
    index.verify()
    index.add(np.arange(20_000, 20_500), clustered(500, 11))
    assert index.build_graph(queries=clustered(30, 12)).num_queries == 30
    for one in index.search(clustered(5, 13), len(index), exact=False):
        assert sorted(map(int, one.ids)) == sorted(index.ids.to_list())  # every row is where the graph thinks it is
    assert recall(VectorIndex.open(index.folder), clustered(50, 13), "part is null") >= 0.9


def test_the_graph_is_used_only_where_it_was_measured_to_be_good(
    index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polysense.search.manifest.ENOUGH", 1.1)
    assert not index.search(clustered(1, 8), 3)[0].approximate
    assert index.search(clustered(1, 8), 3, exact=False)[0].approximate


def test_compacting_drops_the_graph(index: VectorIndex) -> None:
    index.delete([1])
    index.compact()
    assert index.graph is None
    with pytest.raises(SearchError, match="has no graph"):
        index.search(clustered(1, 8), exact=False)


def test_without_faiss_exact_search_is_left(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    opened = VectorIndex.open(index.folder, writable=False)
    monkeypatch.setattr("polysense.search.manifest.ENOUGH", 0.0)
    assert not opened.search(clustered(1, 8), 3)[0].approximate
    with pytest.raises(DependencyError, match=r"pip install 'polysense\[search\]'"):
        opened.search(clustered(1, 8), 3, exact=False)
    with pytest.raises(DependencyError):
        index.build_graph()


def test_a_damaged_graph_is_told(index: VectorIndex) -> None:
    (path,) = (index.folder / "files").glob("*.graph")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(SearchError, match=r"\.graph: is damaged: it does not have the checksum"):
        VectorIndex.open(index.folder).search(clustered(1, 8), exact=False)


def test_the_graph_needs_rows(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="has no rows"):
        VectorIndex.create(tmp_path / "i", dim=2).build_graph()

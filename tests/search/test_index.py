from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from drawn import DIM, draw, labels, unit
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from polysense.errors import DependencyError, SearchError
from polysense.search import VectorIndex


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(place: Path) -> Iterator[VectorIndex]:
    with VectorIndex.create(place, dim=DIM, info={"bundle": "somewhere"}) as made:
        made.add(list(range(60)), draw(60), labels(60))
        yield made


class AnyOrder(RuleBasedStateMachine):
    """Whatever is done to an index, search equals brute force over a dictionary, in memory and in blocks."""

    @initialize(data=st.data(), metric=st.sampled_from(["cosine", "inner_product"]), texts=st.booleans())
    def make(self, data: st.DataObject, metric: Any, texts: bool) -> None:
        import tempfile

        self.home = tempfile.TemporaryDirectory()
        self.index = VectorIndex.create(Path(self.home.name) / "i", dim=3, metric=metric)
        self.texts, self.metric = texts, metric
        self.rows: dict[Any, tuple[np.ndarray, str | None]] = {}
        self.seed = 0

    def _some(self, numbers: list[int]) -> tuple[list[Any], np.ndarray, dict[str, Any]]:
        ids: list[Any] = [f"it's {n}" for n in numbers] if self.texts else list(numbers)
        self.seed += 1
        # Few distinct vectors, so that equal scores happen; short ones, which LanceDB's own scores don't tell apart.
        vectors = np.random.default_rng(self.seed).integers(-2, 3, (len(ids), 3)).astype(np.float32) * np.float32(1e-6)
        vectors[~vectors.any(axis=1)] = 1e-6
        kinds = [None if n % 5 == 0 else "ab"[n % 2] for n in numbers]
        return ids, vectors, {"kind": pl.Series(kinds, dtype=pl.String)}

    def _stored(self, vectors: np.ndarray) -> np.ndarray:
        return (unit(vectors) if self.metric == "cosine" else vectors).astype(np.float32).astype(np.float64)

    @rule(numbers=st.lists(st.integers(0, 30), unique=True, max_size=12))
    def add(self, numbers: list[int]) -> None:
        ids, vectors, metadata = self._some(numbers)
        if any(one in self.rows for one in ids):
            with pytest.raises(SearchError, match="is there already"):
                self.index.add(ids, vectors, metadata)
            return
        self.index.add(ids, vectors, metadata)
        self.rows |= dict(zip(ids, zip(self._stored(vectors), metadata["kind"], strict=True), strict=True))

    @rule(numbers=st.lists(st.integers(0, 30), unique=True, max_size=6))
    def update(self, numbers: list[int]) -> None:
        ids, vectors, metadata = self._some(numbers)
        assert self.index.update(ids, vectors, metadata) == sum(one in self.rows for one in ids)
        self.rows |= dict(zip(ids, zip(self._stored(vectors), metadata["kind"], strict=True), strict=True))

    @rule(numbers=st.lists(st.integers(0, 30), unique=True, max_size=6))
    def delete(self, numbers: list[int]) -> None:
        ids = self._some(numbers)[0]
        assert self.index.delete(ids) == sum(one in self.rows for one in ids)
        self.rows = {one: row for one, row in self.rows.items() if one not in ids}

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = VectorIndex.open(self.index.location, writable=True)

    @invariant()
    def equals_brute_force(self) -> None:
        if not self.index_is_there():
            return
        assert len(self.index) == len(self.rows)
        assert sorted(self.index.ids.to_list()) == sorted(self.rows)
        query = np.random.default_rng(self.seed + 1000).standard_normal((1, 3)).astype(np.float32)
        for condition, kinds in ((None, {"a", "b", None}), ("kind = 'a'", {"a"}), ("kind is null", {None})):
            if condition is not None and "kind" not in self.index.columns:
                continue
            allowed = {one: float(v @ self._stored(query)[0]) for one, (v, kind) in self.rows.items() if kind in kinds}
            best = sorted(((-np.float32(score), one) for one, score in allowed.items()))[:4]
            for limit in (1 << 29, 0):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("polysense.search.index.MEMORY_BYTES", limit)
                    result = self.index.search(query, 4, filter=condition)[0]
                assert result.ids == [one for _, one in best]
                np.testing.assert_array_equal(result.scores, [-score for score, _ in best])
                assert len(result.metadata) == len(result) or not self.index.columns
                if "kind" in result.metadata.columns:
                    assert result.metadata["kind"].to_list() == [self.rows[one][1] for one in result.ids]

    def index_is_there(self) -> bool:
        return "index" in vars(self)

    def teardown(self) -> None:
        if self.index_is_there():
            self.index.close()
            self.home.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=5, stateful_step_count=10)


def test_an_index_describes_itself(index: VectorIndex, place: Path) -> None:
    assert index.location == str(place)
    assert (len(index), index.dim, index.metric, index.id_type) == (60, DIM, "cosine", "int")
    assert index.columns == ["label", "year"]
    assert index.ann is None
    index.update_info(column="photo")
    assert dict(VectorIndex.open(place).info) == {"bundle": "somewhere", "column": "photo"}


def test_a_score_depends_on_its_row_alone(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = draw(9, 5)
    together = index.search(queries, 60)
    index.add(np.arange(100, 400), draw(300, 9), {"label": ["new"] * 300})
    for limit in (1 << 29, 0):
        monkeypatch.setattr("polysense.search.index.MEMORY_BYTES", limit)
        for query, before in zip(queries, together, strict=True):
            (after,) = index.search(query[None], 360)
            now = dict(zip(after.ids, after.scores.tolist(), strict=True))
            assert [now[one] for one in before.ids] == before.scores.tolist()


def test_k_beyond_the_rows_returns_all(index: VectorIndex) -> None:
    (result,) = index.search(draw(1), 1000)
    assert sorted(map(int, result.ids)) == list(range(60))
    assert np.all(np.diff(result.scores) <= 0)
    assert not result.approximate
    assert index.search(np.zeros((0, DIM), dtype=np.float32)) == []


def test_a_filter_is_applied_before_ranking(index: VectorIndex) -> None:
    (result,) = index.search(draw(1, 3), 60, filter="label = 'c1' and year > 2020")
    assert sorted(map(int, result.ids)) == [i for i in range(60) if i % 3 == 1 and i % 4 and i > 20]
    assert len(index.search(draw(1, 3), 2, filter="label = 'c1'")[0]) == 2


def test_updates_replace_vector_and_metadata(index: VectorIndex) -> None:
    assert index.update([3, 100], draw(2, 7), {"label": ["new", "newer"]}) == 1
    vectors, metadata = index.get([100, 3])
    np.testing.assert_allclose(vectors, unit(draw(2, 7))[::-1], rtol=1e-6)
    assert metadata.to_dicts() == [{"label": "newer", "year": None}, {"label": "new", "year": None}]
    assert len(index) == 61
    assert index.contains([3, 100, 101]).tolist() == [True, True, False]
    with pytest.raises(SearchError, match=r"row id 77 is not there \(1 of 2 are not\)"):
        index.get([1, 77])


def test_metadata_columns_may_come_later_and_keep_their_type(index: VectorIndex) -> None:
    index.add([70], draw(1, 3), {"more": [[1, 2]], "nothing yet": [None], "Größe (cm)": [1.5], "year": [1999.0]})
    assert index.columns == ["label", "year", "more", "Größe (cm)"]
    assert index.search(draw(1, 3), 1, filter='"Größe (cm)" = 1.5')[0].metadata.to_dicts() == [
        {"label": None, "year": 1999, "more": [1, 2], "Größe (cm)": 1.5}
    ]
    assert index.get([3])[1]["more"].to_list() == [None]


def test_an_empty_index_returns_nothing(place: Path) -> None:
    with VectorIndex.create(place, dim=DIM) as index:
        assert index.id_type is None
        (result,) = index.search(draw(1))
        assert result.ids == []
        assert len(result.scores) == len(result.metadata) == len(index) == len(index.ids) == 0
        assert len(index.duplicates(0.5)) == 0
        assert index.delete([1, 2]) == 0
        assert index.search(draw(1), filter="row_id = 3")[0].ids == []
        index.add([], np.zeros((0, DIM), dtype=np.float32))
        with pytest.raises(SearchError, match="row id 1 is not there"):
            index.get([1])
        with pytest.raises(SearchError, match="has no rows"):
            index.build_ann()
        index.add(["a"], draw(1))
        assert index.id_type == "str"
        assert index.search(draw(1), 3)[0].ids == ["a"]
        index.delete(["a"])
        assert index.search(draw(1), 3)[0].ids == []


def test_duplicates_may_be_filtered(index: VectorIndex) -> None:
    index.add([100, 101], np.concatenate([draw(60)[5:6] * 3, draw(60)[9:10] + 1e-3]))
    assert index.duplicates(0.9999).select("first", "second").rows() == [(5, 100), (9, 101)]
    assert 0 < index.duplicates(0.3, filter="label = 'c1'").height < index.duplicates(0.3).height


@pytest.mark.parametrize(
    ("ids", "vectors", "metadata", "match"),
    [
        ([1, 1], draw(2), None, "row id 1 stands 2 times"),
        (["a"], draw(1), None, "are whole numbers; found texts, such as 'a'"),
        ([1, "a"], draw(2), None, "all whole numbers"),
        ([1.5], draw(1), None, "whole numbers or texts; found Float64"),
        ([True], draw(1), None, "whole numbers or texts; found Boolean"),
        ([100, None], draw(2), None, "row 1 has no row id"),
        (np.array([2**63], dtype=np.uint64), draw(1), None, "below 2"),
        ([2**64], draw(1), None, "below 2"),
        ([100], draw(2), None, "2 vectors for 1 row ids"),
        ([100], draw(1, dim=5), None, r"expected vectors of 8 numbers, \[rows, 8\]; found \[1, 5\]"),
        ([100], draw(1)[0], None, r"found \[8\]"),
        ([100, 101], np.stack([draw(1)[0], np.full(DIM, np.nan)]), None, "row id 101: its vector holds NaN"),
        ([100, 101], np.stack([draw(1)[0], np.zeros(DIM)]), None, "row id 101: its vector is zero"),
        ([100], np.full((1, DIM), 1e300), None, "row id 100: its vector holds NaN or infinity"),
        ([100], draw(1), {"label": ["a", "b"]}, "2 rows of metadata for 1 row ids"),
        ([100], draw(1), {"row_id": ["a"]}, "may not be named 'row_id'"),
        ([100], draw(1), {"vector": ["a"]}, "may not be named 'vector'"),
        ([100], draw(1), {"a.b": ["a"]}, "may not be named 'a.b'"),
        ([100], draw(1), {"_x": ["a"]}, "may not be named '_x'"),
        ([100], draw(1), {"o": pl.Series([object()], dtype=pl.Object)}, "Python objects"),
        ([100], draw(1), {"year": ["x"]}, "column 'year' is Int64 in the index, and String here, such as 'x'"),
        ([100], draw(1), {"year": [1.5]}, r"column 'year' is Int64 in the index, and Float64 here, such as 1\.5"),
        ([100, 5], draw(2), {"new": [1, 2]}, r"row id 5 is there already \(1 of 2 are\)"),
    ],
)
def test_what_can_not_be_added_changes_nothing(
    index: VectorIndex, ids: Any, vectors: Any, metadata: Any, match: str
) -> None:
    with pytest.raises(SearchError, match=match):
        index.add(ids, vectors, metadata)
    assert (len(index), index.columns) == (60, ["label", "year"])
    assert not index.refresh()


@pytest.mark.parametrize(
    ("query", "options", "match"),
    [
        (draw(1, dim=3), {}, r"queries.*expected vectors of 8 numbers"),
        (np.zeros((2, DIM), np.float32), {}, "queries, counted from 0: row id 0 .and 1 more.: its vector is zero"),
        (draw(1), {"k": 0}, "k must be at least 1; found 0"),
        (draw(1), {"exact": False}, "has no ANN index"),
        (draw(1), {"filter": "lable = 'a'"}, "no column 'lable'; did you mean 'label'"),
    ],
)
def test_what_can_not_be_searched_for(index: VectorIndex, query: Any, options: Any, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        index.search(query, **options)


def test_without_lancedb_the_error_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    for act in (VectorIndex.check_free, VectorIndex.open, lambda where: VectorIndex.create(where, dim=2)):
        with pytest.raises(DependencyError, match=r"pip install 'polysense\[search\]'"):
            act(place)

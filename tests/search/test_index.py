from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from drawn import DIM, draw, labels, unit
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from polysense.errors import SearchError
from polysense.search import Backend, VectorIndex


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    made = VectorIndex.create(tmp_path / "index", dim=DIM)
    made.add(list(range(60)), draw(60), labels(60))
    return made


class AnyOrder(RuleBasedStateMachine):
    """Whatever is done to an index, it finds what brute force over a dictionary finds."""

    @initialize(data=st.data(), metric=st.sampled_from(["cosine", "inner_product"]), texts=st.booleans())
    def make(self, data: st.DataObject, metric: Any, texts: bool) -> None:
        import tempfile

        self.home = tempfile.TemporaryDirectory()
        self.index = VectorIndex.create(Path(self.home.name) / "i", dim=3, metric=metric)
        self.texts, self.metric = texts, metric
        self.rows: dict[Any, tuple[np.ndarray, str | None]] = {}
        self.seed = 0

    def _some(self, numbers: list[int]) -> tuple[list[Any], np.ndarray, dict[str, Any]]:
        ids: list[Any] = [f"r{n}" for n in numbers] if self.texts else list(numbers)
        self.seed += 1
        # Few distinct vectors, so that equal scores happen.
        vectors = np.random.default_rng(self.seed).integers(-2, 3, (len(ids), 3)).astype(np.float32)
        vectors[~vectors.any(axis=1)] = 1.0
        kinds = [None if n % 5 == 0 else "ab"[n % 2] for n in numbers]
        return ids, vectors, {"kind": pl.Series(kinds, dtype=pl.String)}

    def _stored(self, vectors: np.ndarray) -> np.ndarray:
        return unit(vectors) if self.metric == "cosine" else vectors.astype(np.float64)

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
        assert self.index.num_deleted == 0

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = VectorIndex.open(self.index.folder, writable=True)

    @invariant()
    def finds_what_brute_force_finds(self) -> None:
        if not self.index_is_there():
            return
        assert len(self.index) == len(self.rows)
        assert sorted(self.index.ids.to_list()) == sorted(self.rows)
        query = self._stored(np.random.default_rng(self.seed + 1000).standard_normal((1, 3)).astype(np.float32))[0]
        for condition, kinds in ((None, {"a", "b", None}), ("kind = 'a'", {"a"}), ("kind is null", {None})):
            if condition is not None and "kind" not in self.index.columns:
                continue
            allowed = {one: float(v @ query) for one, (v, kind) in self.rows.items() if kind in kinds}
            found = self.index.search(query[None].astype(np.float32), 4, filter=condition)[0]
            best = sorted(allowed.values(), reverse=True)[:4]
            assert len(found) == len(best)
            np.testing.assert_allclose(found.scores, best, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose([allowed[one] for one in found.ids], best, rtol=1e-5, atol=1e-6)
            pairs = list(zip((-found.scores).tolist(), found.ids, strict=True))
            assert pairs == sorted(pairs)  # equal scores by id
            assert len(found.metadata) == len(found)
            if "kind" in found.metadata.columns:
                assert found.metadata["kind"].to_list() == [self.rows[one][1] for one in found.ids]

    def index_is_there(self) -> bool:
        return "index" in vars(self)

    def teardown(self) -> None:
        if self.index_is_there():
            self.index.verify()
            self.index.close()
            self.home.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=10, stateful_step_count=15)


def test_it_is_a_backend(index: VectorIndex) -> None:
    assert isinstance(index, Backend)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    index = VectorIndex.create(tmp_path / "i", dim=DIM)
    (found,) = index.search(draw(1))
    assert found.ids == []
    assert len(found.scores) == len(found.metadata) == 0
    assert len(index) == len(index.ids) == len(index.duplicates(0.5)) == 0
    assert index.delete([1, 2]) == 0
    assert index.search(np.zeros((0, DIM), dtype=np.float32)) == []
    index.add([], np.zeros((0, DIM), dtype=np.float32))
    assert index.id_type is None


def test_k_beyond_the_rows_gives_all_of_them(index: VectorIndex) -> None:
    (found,) = index.search(draw(1), 1000)
    assert sorted(map(int, found.ids)) == list(range(60))
    assert np.all(np.diff(found.scores) <= 0)


def test_several_blocks_and_threads_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = VectorIndex.create(tmp_path / "i", dim=DIM)
    vectors = draw(3000, 1)
    index.add(np.arange(3000), vectors, {"even": [i % 2 == 0 for i in range(3000)]})
    queries = draw(5, 2)
    whole = [index.search(queries, 7), index.search(queries, 7, filter="even")]
    monkeypatch.setattr("polysense.search.exact.BLOCK", 101)
    monkeypatch.setattr("polysense.search.exact._MOST_QUERIES", 2)
    cut = [index.search(queries, 7, threads=3), index.search(queries, 7, filter="even", threads=3)]
    truth = unit(queries) @ unit(vectors).T
    for a, b, step in zip(whole, cut, (1, 2), strict=True):
        for row, (one, other) in enumerate(zip(a, b, strict=True)):
            assert one.ids == other.ids
            assert one.scores.tobytes() == other.scores.tobytes()
            assert one.ids == (np.argsort(-truth[row, ::step])[:7] * step).tolist()


def test_a_score_depends_on_its_row_alone(index: VectorIndex) -> None:
    queries = draw(9, 5)
    together = index.search(queries, 60)
    index.add(np.arange(100, 400), draw(300, 9), {"label": ["new"] * 300})
    for query, before in zip(queries, together, strict=True):
        (after,) = index.search(query[None], 360)
        now = dict(zip(after.ids, after.scores.tolist(), strict=True))
        assert [now[one] for one in before.ids] == before.scores.tolist()


def test_metadata_columns_may_come_later_and_widen(index: VectorIndex) -> None:
    index.add([70], draw(1, 3), {"year": [1999.5], "more": [[1, 2]]})
    assert index.columns == ["label", "year", "more"]
    assert index.search(draw(1, 3), 1)[0].metadata.to_dicts() == [{"label": None, "year": 1999.5, "more": [1, 2]}]
    assert index.search(draw(1), 100, filter="year < 2000")[0].ids == [70]
    assert len(index.search(draw(1), 100, filter="year = 2001")[0]) == 1
    with pytest.raises(SearchError, match=r"column 'year' is Float64 in the index, and String here, such as 'x'"):
        index.add([71], draw(1, 3), {"year": ["x"]})


def test_many_small_adds_leave_few_segments(tmp_path: Path) -> None:
    index = VectorIndex.create(tmp_path / "i", dim=2)
    for i in range(70):
        index.add([i], np.array([[1.0, i]], dtype=np.float32), {"i": [i]})
    assert sorted(index.ids.to_list()) == list(range(70))
    assert len(list((tmp_path / "i" / "files").iterdir())) <= 2 * 7 * 3
    index.delete(list(range(50)))
    index.compact()
    assert len(list((tmp_path / "i" / "files").iterdir())) == 2
    assert sorted(index.ids.to_list()) == list(range(50, 70))
    assert index.get([67])[1]["i"].to_list() == [67]


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
        (
            [100, 101],
            np.stack([draw(1)[0], np.full(DIM, np.nan, np.float32)]),
            None,
            "row id 101: its vector holds NaN",
        ),
        ([100, 101], np.stack([draw(1)[0], np.zeros(DIM, np.float32)]), None, "row id 101: its vector is zero"),
        ([100], np.full((1, DIM), 1e300), None, "row id 100: its vector holds NaN or infinity"),
        ([100], draw(1), {"label": ["a", "b"]}, "2 rows of metadata for 1 row ids"),
        ([100], draw(1), {"row_id": ["a"]}, "may not be named 'row_id'"),
        ([100], draw(1), {"o": pl.Series([object()], dtype=pl.Object)}, "Python objects"),
        ([5], draw(1), None, "row id 5 is there already"),
    ],
)
def test_what_can_not_be_added(index: VectorIndex, ids: Any, vectors: Any, metadata: Any, match: str) -> None:
    version = index.version
    with pytest.raises(SearchError, match=match):
        index.add(ids, vectors, metadata)
    assert (len(index), index.version) == (60, version)


@pytest.mark.parametrize(
    ("query", "options", "match"),
    [
        (draw(1, dim=3), {}, r"queries.*expected vectors of 8 numbers"),
        (np.zeros((2, DIM), np.float32), {}, "queries, counted from 0: row id 0 .and 1 more.: its vector is zero"),
        (draw(1), {"k": 0}, "k must be at least 1; found 0"),
        (draw(1), {"exact": False}, "has no graph"),
        (draw(1), {"filter": "lable = 'a'"}, "no column 'lable'; did you mean 'label'"),
    ],
)
def test_what_can_not_be_asked(index: VectorIndex, query: Any, options: Any, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        index.search(query, **options)


def test_an_unknown_id_can_not_be_got(index: VectorIndex) -> None:
    with pytest.raises(SearchError, match="row id 77 is not there"):
        index.get([1, 77])


def test_a_reader_can_not_write(index: VectorIndex) -> None:
    with pytest.raises(SearchError, match="opened for reading"):
        VectorIndex.open(index.folder).delete([1])


def test_readers_see_one_moment(index: VectorIndex) -> None:
    reader = VectorIndex.open(index.folder)
    before = reader.search(draw(3), 60)
    index.delete(list(range(30)))
    index.update([40], draw(1, 3))
    index.compact()
    for one, other in zip(before, reader.search(draw(3), 60), strict=True):
        assert one.ids == other.ids
        assert one.scores.tolist() == other.scores.tolist()
        assert one.metadata.equals(other.metadata)
    assert reader.refresh()
    assert not reader.refresh()
    assert len(reader) == 30


def test_an_index_is_not_made_over_something(tmp_path: Path, index: VectorIndex) -> None:
    with pytest.raises(SearchError, match="is an index already"):
        VectorIndex.create(index.folder, dim=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(SearchError, match="is not empty"):
        VectorIndex.create(tmp_path / "mine", dim=3)
    with pytest.raises(SearchError, match="is a file already"):
        VectorIndex.create(tmp_path / "mine" / "thesis.tex", dim=3)
    with pytest.raises(SearchError, match="no such folder"):
        VectorIndex.open(tmp_path / "nowhere")
    with pytest.raises(SearchError, match=r"has no manifest.json"):
        VectorIndex.open(tmp_path / "mine", writable=True)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["thesis.tex"]


def test_duplicates_are_all_pairs_above_a_cosine(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polysense.search.duplicates._BLOCK", 7)
    index.add([100, 101], np.concatenate([draw(60)[5:6] * 3, draw(60)[9:10] + 1e-3]))
    index.delete([11])
    vectors, _ = index.get(index.ids)
    cosines = unit(vectors) @ unit(vectors).T
    ids = index.ids.to_list()
    for threshold in (-1.0, 0.3, 0.9999):
        found = index.duplicates(threshold)
        expected = {
            tuple(sorted((ids[a], ids[b])))
            for a in range(len(ids))
            for b in range(a)
            if cosines[a, b] >= threshold
        }  # fmt: skip
        assert set(found.select("first", "second").iter_rows()) == expected
        assert found["score"].is_sorted(descending=True)
    assert found.select("first", "second").rows() == [(5, 100), (9, 101)]
    assert index.duplicates(0.3, filter="label = 'c1'").height < index.duplicates(0.3).height
    with pytest.raises(SearchError, match="more than 10 pairs"):
        index.duplicates(-1.0, limit=10)
    with pytest.raises(SearchError, match="found 2"):
        index.duplicates(2.0)


def test_what_is_remembered_stays(index: VectorIndex) -> None:
    index.remember(bundle="somewhere")
    index.remember(column="photo")
    assert dict(VectorIndex.open(index.folder).info) == {"bundle": "somewhere", "column": "photo"}

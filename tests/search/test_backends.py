"""What both engines promise: an index in a folder and a LanceDB table, through one interface."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from drawn import DIM, draw, labels, unit

from polysense.errors import DependencyError, SearchError
from polysense.search import Backend, LanceIndex, VectorIndex, check_place, create_index, open_index
from polysense.search.lance_filters import lance_condition

PLACES = {"folder": "index", "lance": "index.lance"}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / PLACES[request.param]


@pytest.fixture
def index(place: Path) -> Iterator[Backend]:
    with create_index(place, dim=DIM, info={"bundle": "somewhere"}) as made:
        made.add(list(range(60)), draw(60), labels(60))
        yield made


def test_a_place_says_which_engine(tmp_path: Path) -> None:
    kinds = {name: type(create_index(tmp_path / place, dim=2)) for name, place in PLACES.items()}
    assert kinds == {"folder": VectorIndex, "lance": LanceIndex}
    VectorIndex.create(tmp_path / "old.lance", dim=3).close()  # the ending meant nothing when this was made
    assert isinstance(open_index(tmp_path / "old.lance"), VectorIndex)


def test_both_serve_the_interface(index: Backend, place: Path) -> None:
    assert isinstance(index, Backend)
    assert index.place == str(place)
    assert (len(index), index.dim, index.metric, index.id_type) == (60, DIM, "cosine", "int")
    assert index.columns == ["label", "year"]
    assert index.graph is None
    index.remember(column="photo")
    assert dict(open_index(place).info) == {"bundle": "somewhere", "column": "photo"}


def test_search_equals_brute_force(index: Backend) -> None:
    queries, vectors = draw(5, 2), unit(draw(60)).astype(np.float32)
    products = unit(queries).astype(np.float32).astype(np.float64) @ vectors.astype(np.float64).T
    for row, found in enumerate(index.search(queries, 7)):
        best = np.argsort(-products[row])[:7]
        assert found.ids == best.tolist()
        np.testing.assert_array_equal(found.scores, products[row][best].astype(np.float32))
        assert not found.approximate
        assert found.metadata["label"].to_list() == [f"c{i % 3}" for i in best]
    assert sorted(map(int, index.search(queries[:1], 1000)[0].ids)) == list(range(60))
    assert index.search(queries[:1], 3, with_metadata=False)[0].metadata.width == 0


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("label = 'c1'", lambda i: i % 3 == 1),
        ("label = 'c1' and year > 2020", lambda i: i % 3 == 1 and i % 4 and i > 20),
        ("year is null", lambda i: i % 4 == 0),
        ("not (year >= 2010)", lambda i: i % 4 and i < 10),
        ("year between 2003 and 2005 or row_id in (0, 59)", lambda i: i in (0, 3, 5, 59)),
        ("label like 'c%' and label not in ('c0', 'c2')", lambda i: i % 3 == 1),
        ("\"label\" <> 'c0' AND row_id > -1", lambda i: i % 3),
        ("label = 'it''s'", lambda i: False),
        ("true", lambda i: True),
    ],
)
def test_a_filter_is_met_by_all_that_is_found_and_applied_first(index: Backend, condition: str, met: Any) -> None:
    (found,) = index.search(draw(1, 3), 60, filter=condition)
    assert sorted(map(int, found.ids)) == [i for i in range(60) if met(i)]
    assert len(index.search(draw(1, 3), 2, filter=condition)[0]) == min(2, len(found))


@pytest.mark.parametrize("metric", ["cosine", "inner_product"])
@pytest.mark.parametrize("texts", [False, True])
def test_both_engines_give_the_same_bits_whatever_is_done(tmp_path: Path, metric: Any, texts: bool) -> None:
    both = [create_index(tmp_path / place, dim=3, metric=metric) for place in PLACES.values()]
    draws = random.Random(f"{metric} {texts}")
    for step in range(12):
        numbers = draws.sample(range(25), draws.randrange(1, 10))
        ids: list[Any] = [f"it's {n}" for n in numbers] if texts else numbers
        # Few distinct vectors, so that equal scores happen; short ones, which LanceDB's own numbers don't tell apart.
        vectors = np.random.default_rng(step).integers(-2, 3, (len(ids), 3)).astype(np.float32) * np.float32(1e-6)
        vectors[~vectors.any(axis=1)] = 1e-6
        rows = {"kind": pl.Series([None if n % 5 == 0 else "ab"[n % 2] for n in numbers], dtype=pl.String)}
        what = draws.choice(["add", "update", "update", "delete", "reopen", "compact"])
        if what == "reopen":
            for one in both:
                one.close()
            both = [open_index(one.place, writable=True) for one in both]
        elif what == "compact":
            for one in both:
                one.compact()
        elif what == "delete":
            assert both[0].delete(ids) == both[1].delete(ids)
        elif what == "update":
            assert both[0].update(ids, vectors, rows) == both[1].update(ids, vectors, rows)
        else:
            told = []
            for one in both:
                try:
                    one.add(ids, vectors, rows)
                    told.append("added")
                except SearchError as error:
                    told.append(str(error).split(" is there already ")[1])  # any of the ids may be named
            assert told[0] == told[1]
        assert len(both[0]) == len(both[1])
        assert sorted(both[0].ids.to_list()) == sorted(both[1].ids.to_list())
        assert both[0].contains(ids).tolist() == both[1].contains(ids).tolist()
        for condition in (None, "kind = 'a'", "kind is null"):
            if condition is not None and "kind" not in both[0].columns:
                continue
            for a, b in zip(*(one.search(draw(2, step, 3), 4, filter=condition) for one in both), strict=True):
                assert a.ids == b.ids
                assert a.scores.tobytes() == b.scores.tobytes()
                assert a.metadata.equals(b.metadata)
    names = both[0].ids.to_list()
    if names:
        (vectors, rows), (other, others) = both[0].get(names), both[1].get(names)
        assert vectors.tobytes() == other.tobytes()
        assert rows.equals(others)
    assert both[0].duplicates(0.9).equals(both[1].duplicates(0.9))


def test_updates_replace_vector_and_metadata(index: Backend) -> None:
    assert index.update([3, 100], draw(2, 7), {"label": ["new", "newer"]}) == 1
    vectors, metadata = index.get([100, 3])
    np.testing.assert_allclose(vectors, unit(draw(2, 7))[::-1], rtol=1e-6)
    assert metadata.to_dicts() == [{"label": "newer", "year": None}, {"label": "new", "year": None}]
    assert len(index) == 61
    assert index.contains([3, 100, 101]).tolist() == [True, True, False]
    index.add([70], draw(1, 3), {"more": [1.5]})
    assert index.get([70])[1].to_dicts() == [{"label": None, "year": None, "more": 1.5}]
    assert index.get([3])[1]["more"].to_list() == [None]


def test_readers_see_the_moment_that_they_opened(index: Backend, place: Path) -> None:
    reader = open_index(place)
    before = reader.search(draw(3), 60)
    index.delete(list(range(30)))
    index.update([40], draw(1, 3), {"late": [True]})
    for one, other in zip(before, reader.search(draw(3), 60), strict=True):
        assert one.ids == other.ids
        assert one.scores.tobytes() == other.scores.tobytes()
    assert reader.refresh()
    assert not reader.refresh()
    assert len(reader) == 30
    assert reader.columns == ["label", "year", "late"]
    with pytest.raises(SearchError, match="opened for reading"):
        reader.delete([40])


def test_another_process_reads_what_was_written(index: Backend, place: Path) -> None:
    script = (
        "import sys, numpy as np; from polysense.search import open_index; i = open_index(sys.argv[1]);"
        "print(len(i), i.search(np.ones((1, 8)), 3, filter=\"label = 'c1'\")[0].ids)"
    )
    out = subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=True).stdout
    (found,) = index.search(np.ones((1, 8)), 3, filter="label = 'c1'")
    assert out.strip() == f"60 {found.ids}"


@pytest.mark.parametrize(
    ("ids", "vectors", "metadata", "match"),
    [
        ([1, 1], draw(2), None, "row id 1 stands 2 times"),
        (["a"], draw(1), None, "are whole numbers; found texts, such as 'a'"),
        ([100], draw(2), None, "2 vectors for 1 row ids"),
        ([100, 101], np.stack([draw(1)[0], np.zeros(DIM, np.float32)]), None, "row id 101: its vector is zero"),
        ([100], draw(1), {"row_id": ["a"]}, "may not be named 'row_id'"),
        ([100], draw(1), {"year": ["x"]}, "column 'year' is Int64 in the index, and String here, such as 'x'"),
        ([100, 5], draw(2), {"new": [1, 2]}, r"row id 5 is there already \(1 of 2 are\)"),
    ],
)
def test_what_can_not_be_added_changes_nothing(
    index: Backend, ids: Any, vectors: Any, metadata: Any, match: str
) -> None:
    with pytest.raises(SearchError, match=match):
        index.add(ids, vectors, metadata)
    assert (len(index), index.columns) == (60, ["label", "year"])


@pytest.mark.parametrize(
    ("query", "options", "match"),
    [
        (draw(1, dim=3), {}, r"queries.*expected vectors of 8 numbers"),
        (draw(1), {"k": 0}, "k must be at least 1; found 0"),
        (draw(1), {"exact": False}, "has no graph"),
        (draw(1), {"filter": "lable = 'a'"}, "no column 'lable'; did you mean 'label'"),
        (draw(1), {"filter": 'label = "c1"'}, "a text stands in single quotes: 'c1'"),
        (draw(1), {"filter": "year ="}, "expected an SQL condition"),
    ],
)
def test_what_can_not_be_asked(index: Backend, query: Any, options: Any, match: str) -> None:
    with pytest.raises(SearchError, match=match):
        index.search(query, **options)


def test_an_empty_index_finds_nothing(place: Path) -> None:
    with create_index(place, dim=DIM) as index:
        assert index.id_type is None
        (found,) = index.search(draw(1))
        assert found.ids == []
        assert len(found.scores) == len(found.metadata) == len(index) == len(index.ids) == 0
        assert len(index.duplicates(0.5)) == 0
        assert index.delete([1, 2]) == 0
        assert index.search(draw(1), filter="row_id = 3")[0].ids == []
        index.add([], np.zeros((0, DIM), dtype=np.float32))
        with pytest.raises(SearchError, match="row id 1 is not there"):
            index.get([1])
        with pytest.raises(SearchError, match="has no rows"):
            index.build_graph()
        index.add(["a"], draw(1))
        assert index.id_type == "str"
        assert index.search(draw(1), 3)[0].ids == ["a"]


def test_an_index_is_not_made_over_something(tmp_path: Path, place: Path) -> None:
    check_place(place)
    create_index(place, dim=3).close()
    for make in (lambda: create_index(place, dim=3), lambda: check_place(place)):
        with pytest.raises(SearchError, match="is an index already"):
            make()
    mine = tmp_path / f"mine{place.suffix}"
    with pytest.raises(SearchError, match="no such"):
        open_index(mine)
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(SearchError, match="is not empty"):
        create_index(mine, dim=3)
    assert sorted(path.name for path in mine.iterdir()) == ["thesis.tex"]


def test_duplicates_are_all_pairs_above_a_cosine(index: Backend) -> None:
    index.add([100, 101], np.concatenate([draw(60)[5:6] * 3, draw(60)[9:10] + 1e-3]))
    assert index.duplicates(0.9999).select("first", "second").rows() == [(5, 100), (9, 101)]
    assert index.duplicates(0.3, filter="label = 'c1'").height < index.duplicates(0.3).height
    with pytest.raises(SearchError, match="more than 10 pairs"):
        index.duplicates(-1.0, limit=10)
    with pytest.raises(SearchError, match="found 2"):
        index.duplicates(2.0)


def test_approximate_search_is_measured_filtered_and_takes_in_what_came_later(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polysense.search.answer._FEW_ROWS", 50)  # so that the few rows are walked
    monkeypatch.setattr("polysense.search.lance._ROWS_IN_LIST", 100)
    monkeypatch.setattr("polysense.search.lance._NUM_QUERIES", 40)
    centres = draw(30, 0, 16)
    near = [centres[np.arange(n) % 30] + 0.4 * draw(n, seed, 16) for n, seed in ((3000, 1), (15, 2))]
    with create_index(place, dim=16) as index:
        index.add(np.arange(3000), near[0], {"part": [i % 100 for i in range(3000)]})
        measured = index.build_graph()
        assert measured.recall >= 0.9
        assert measured.num_queries in (40, 200)
        assert index.graph is not None
        assert index.graph.as_dict() == measured.as_dict()
    index = open_index(place, writable=True)
    assert index.graph is not None
    for condition, share in ((None, 100), ("part < 10", 10), ("part = 3", 1), ("part = 1000", 0)):
        found = index.search(near[1], 40, exact=False, filter=condition)
        truth = index.search(near[1], 40, exact=True, filter=condition)
        assert [len(one) for one in found] == [min(40, share * 30)] * 15  # a filter never costs results
        hits = [len({*a.ids} & {*b.ids}) / max(1, len(b)) for a, b in zip(found, truth, strict=True)]
        assert not share or np.mean(hits) >= 0.8
    assert all(one.approximate for one in index.search(near[1], 5, exact=False))
    best = index.search(near[1][:5], 1)
    index.delete([one.ids[0] for one in best])
    index.add(np.arange(5000, 5005), near[1][:5])
    assert [one.ids[0] for one in index.search(near[1][:5], 3, exact=False)] == [5000, 5001, 5002, 5003, 5004]
    assert index.build_graph(queries=near[1][5:]).num_queries == 10
    assert [one.ids[0] for one in index.search(near[1][:5], 3, exact=False)] == [5000, 5001, 5002, 5003, 5004]


# What only a LanceDB table is.


@pytest.mark.parametrize(
    "condition",
    ["year / 2 = 1000", "year % 2 = 1", "upper(label) = 'C1'", "year + 1 = 2000", "label like 'c\\_'", "-year < 0"],
)
def test_a_condition_that_lancedb_reads_in_another_way_is_refused(condition: str) -> None:
    with pytest.raises(SearchError, match="could mean something else in LanceDB"):
        lance_condition(condition, {"label": pl.String, "year": pl.Int64})


def test_a_condition_is_quoted_and_its_texts_are_left_alone() -> None:
    schema = {"label": pl.String, "a b": pl.Int64, "In": pl.Int64}
    condition = 'label = \'a - b and "a b"\' AND "a b" NOT IN (-1, - 2) or "In" <= 1.5e3'
    assert lance_condition(condition, schema) == (
        "`label` = 'a - b and \"a b\"' and `a b` not in ( -1 , -2 ) or `In` <= 1.5e3"
    )


def test_column_names_of_any_kind_are_stored_or_refused(tmp_path: Path) -> None:
    with create_index(tmp_path / "i.lance", dim=DIM) as index:
        index.add(
            [1, 2], draw(2), {"Größe (cm)": [1, 2], "select": ["a", "b"], "Größe (CM)": [3, 3], "none": [None] * 2}
        )
        assert index.columns == ["Größe (cm)", "select", "Größe (CM)"]
        assert index.search(draw(1), filter='"Größe (cm)" = 2 and "select" = \'b\'')[0].ids == [2]
        for name in ("a.b", "a`b", "vector", "_distance"):
            with pytest.raises(SearchError, match=f"column '{name}': LanceDB takes no name"):
                index.add([3], draw(1), {name: [1]})
        with pytest.raises(SearchError, match=r"is Int64 in the index, and Float64 here, such as 1\.5"):
            index.add([3], draw(1), {"Größe (cm)": [1.5]})
        index.add([3], draw(1), {"Größe (cm)": [5.0]})
        with pytest.raises(SearchError, match="no checksums"):
            index.verify()


def test_what_is_no_table_of_ours_is_told(tmp_path: Path) -> None:
    import lancedb

    lancedb.connect(str(tmp_path)).create_table("other", [{"vector": [1.0, 2.0]}])
    with pytest.raises(SearchError, match="polysense did not make"):
        open_index(tmp_path / "other.lance")
    for place in ("s3://bucket", "s3://bucket/photos", "s3://photos.lance", "gs://bucket/.lance"):
        with pytest.raises(SearchError, match=r"names no LanceDB table; expected FOLDER/NAME\.lance"):
            open_index(place)


def test_without_lancedb_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    for act in (check_place, open_index, lambda place: create_index(place, dim=2)):
        with pytest.raises(DependencyError, match=r"pip install 'polysense\[lancedb\]'"):
            act(tmp_path / "i.lance")


def test_object_storage_is_named_to_lancedb_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No storage is reached here: LanceDB's `connect` is stood in for by one to a local folder."""
    import lancedb

    asked, real = [], lancedb.connect

    def connect(uri: str, **options: Any) -> Any:
        asked.append((uri, options))
        return real(str(tmp_path))

    monkeypatch.setattr(lancedb, "connect", connect)
    with LanceIndex.create("s3://bucket/some/photos.lance", dim=2, storage_options={"region": "eu"}) as index:
        index.add([1], draw(1, 0, 2))
        assert index.place == "s3://bucket/some/photos.lance"
    assert len(open_index("az://container/photos.lance/")) == 1
    assert asked[0] == ("s3://bucket/some", {"storage_options": {"region": "eu"}})
    assert asked[-1] == ("az://container", {"storage_options": None})


WRITER = """
import sys
import numpy as np
from polysense.search import open_index

index = open_index(sys.argv[1], writable=True)
number = int(sys.argv[2])
print("ready", flush=True)
while True:
    ids = np.arange(number, number + 5)
    index.add(ids, np.random.default_rng(number).standard_normal((5, 8)), {"number": ids})
    print("added", number, flush=True)
    number += 5
"""


@pytest.mark.slow
def test_sigkill_during_an_add_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The folder's own tests are in test_durable.py."""
    place, number, draws = tmp_path / "i.lance", 0, random.Random(0)
    create_index(place, dim=DIM).close()
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(place), str(number)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            lines = [writer.stdout.readline() for _ in range(draws.randrange(1, 12))]
            writer.send_signal(signal.SIGKILL)
            said = [line.split() for line in (*lines, *writer.stdout) if line.endswith("\n")]
        with open_index(place, writable=True) as index:
            there = sorted(index.ids.to_list())
            assert len(there) >= int(said[-1][1]) + 5  # at most one batch more, and all of it
            assert there == list(range(len(there)))
            assert len(there) in (int(said[-1][1]) + 5, int(said[-1][1]) + 10)
            vectors, rows = index.get(there)
            assert rows["number"].to_list() == there
            for low in range(0, len(there), 5):
                expected = unit(np.random.default_rng(low).standard_normal((5, DIM)).astype(np.float32))
                np.testing.assert_allclose(vectors[low : low + 5], expected, rtol=1e-5)
            number = len(there)

"""Kills, damage and foreign folders: nothing acknowledged is lost, and what is wrong is a clear error."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import DIM, draw, labels, unit

from polysense.errors import SearchError
from polysense.search import VectorIndex

BATCH = 5

# Adds batches until it is killed, and says after each that it is there. Now and then it deletes or compacts.
WRITER = """
import sys
import numpy as np
from polysense.search import VectorIndex

index = VectorIndex.open(sys.argv[1], writable=True)
number = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
while True:
    ids = np.arange(number, number + 5)
    index.add(ids, np.random.default_rng(number).standard_normal((5, 8)), {"number": ids})
    print("added", number, flush=True)
    if number % 35 == 0:
        index.delete([number + 1])
        print("deleted", number + 1, flush=True)
    if number % 70 == 0:
        index.compact()
    number += 5
"""

READER = """
import sys
import numpy as np
from polysense.search import VectorIndex

index = VectorIndex.open(sys.argv[1])
print("ready", flush=True)
last = 0
while last < int(sys.argv[2]):
    index.refresh()
    ids = sorted(index.ids.to_list())
    assert ids == list(range(len(ids))) and len(ids) % 5 == 0 and len(ids) >= last, ids
    assert sorted(index.search(np.ones((1, 8)), 1000)[0].ids) == ids
    last = len(ids)
print(last, flush=True)
"""


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    with VectorIndex.create(tmp_path / "index", dim=DIM) as made:
        made.add(list(range(60)), draw(60), labels(60))
    return VectorIndex.open(tmp_path / "index", writable=True)


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_sigkill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, rounds: int) -> None:
    folder = tmp_path / "index"
    VectorIndex.create(folder, dim=DIM).close()
    there: set[int] = set()
    gone: set[int] = set()
    number, moments = 0, random.Random(0)
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            writer.stdin.write("go\n")
            writer.stdin.flush()
            lines = [writer.stdout.readline() for _ in range(moments.randrange(3, 18))]
            time.sleep(moments.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            messages = [line.split() for line in (*lines, *writer.stdout) if line.endswith("\n")]
        for action, which in messages:
            if action == "added":
                there |= set(range(int(which), int(which) + BATCH))
            else:
                gone.add(int(which))
        with VectorIndex.open(folder, writable=True) as index:  # the lock went with the process
            ids = {*index.ids.to_list()}
            assert len(ids) == len(index)
            assert there - gone - ids == set() or there - gone - ids == {max(there) - BATCH + 2}
            # At most one batch more: written, and killed before it could say so. All of it, or nothing.
            more = ids - there
            assert more in (set(), set(range(max(there, default=-1) + 1, max(there, default=-1) + 1 + BATCH)))
            # A deletion that was acknowledged is done; one that was not may be.
            assert not ids & gone
            gone |= there - ids
            there |= more
            for start in range(0, max(there, default=-1) + 1, BATCH):
                names = [one for one in range(start, start + BATCH) if one in ids]
                vectors, rows = index.get(names)
                expected = unit(np.random.default_rng(start).standard_normal((BATCH, DIM)))
                np.testing.assert_allclose(vectors, expected[[one - start for one in names]], rtol=1e-5)
                assert rows["number"].to_list() == names
        number = max(there, default=-BATCH) // BATCH * BATCH + BATCH
    assert len(there) > 2 * BATCH


def test_a_reader_beside_a_writer_sees_whole_batches(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with VectorIndex.create(folder, dim=DIM) as index:
        index.add(np.arange(BATCH), draw(BATCH))
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(folder), "60"], stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for low in range(BATCH, 60, BATCH):
                index.add(np.arange(low, low + BATCH), draw(BATCH, low))
            assert reader.stdout.read().strip() == "60"


def test_readers_see_the_version_that_they_opened(index: VectorIndex) -> None:
    reader = VectorIndex.open(index.location)
    before = reader.search(draw(3), 60)
    index.delete(list(range(30)))
    index.update([40], draw(1, 3), {"late": [True]})
    fresh = reader.search(draw(3), 60)
    reader._memory = None  # read anew, from the version that is pinned
    for one, *others in zip(before, fresh, reader.search(draw(3), 60), strict=True):
        for other in others:
            assert one.ids == other.ids
            assert one.scores.tobytes() == other.scores.tobytes()
            assert one.metadata.equals(other.metadata)
    assert reader.refresh()
    assert not reader.refresh()
    assert len(reader) == 30
    assert reader.columns == ["label", "year", "late"]
    with pytest.raises(SearchError, match="opened for reading"):
        reader.delete([40])


def test_one_writer_at_a_time(index: VectorIndex) -> None:
    with pytest.raises(SearchError, match="is locked by another writer"):
        VectorIndex.open(index.location, writable=True)
    assert len(VectorIndex.open(index.location)) == 60
    index.close()
    with pytest.raises(SearchError, match="opened for reading"):
        index.delete([1])
    VectorIndex.open(index.location, writable=True).close()


def test_a_writer_sees_what_was_written_while_it_waited(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    from polysense.search.table import LanceTable

    lock = LanceTable.lock

    def late(table: LanceTable) -> None:
        index.delete([1])
        index.close()
        lock(table)

    monkeypatch.setattr(LanceTable, "lock", late)
    with VectorIndex.open(index.location, writable=True) as other:
        assert len(other) == 59


def test_compacting_reclaims_disk_space(tmp_path: Path) -> None:
    folder = tmp_path / "i"

    def size() -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    with VectorIndex.create(folder, dim=256) as index:
        for low in range(0, 1000, 100):
            index.add(np.arange(low, low + 100), draw(100, low, dim=256), {"n": range(low, low + 100)})
        before, reader = size(), VectorIndex.open(folder)
        index.delete(list(range(900)))
        assert size() > before
        index.compact()
        assert size() < before / 4
        assert index.ids.to_list() == list(range(900, 1000))
        assert index.get([967])[1]["n"].to_list() == [967]
        with pytest.raises(SearchError, match="open the index again"):
            reader.search(draw(1, dim=256), 1000)  # the files of its version are gone
        reader.refresh()
        assert len(reader.search(draw(1, dim=256), 1000)[0]) == 100


def test_an_index_is_not_made_over_something(tmp_path: Path, index: VectorIndex) -> None:
    VectorIndex.check_free(tmp_path / "free")
    assert not (tmp_path / "free").exists()
    for make in (lambda: VectorIndex.create(index.location, dim=3), lambda: VectorIndex.check_free(index.location)):
        with pytest.raises(SearchError, match="is an index already"):
            make()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(SearchError, match="is not empty"):
        VectorIndex.create(tmp_path / "mine", dim=3)
    with pytest.raises(SearchError, match="is a file already"):
        VectorIndex.create(tmp_path / "mine" / "thesis.tex", dim=3)
    for place in ("nowhere", "mine", "mine/thesis.tex"):
        with pytest.raises(SearchError, match="there is no index; expected one that `polysense index` made"):
            VectorIndex.open(tmp_path / place, writable=True)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["thesis.tex"]
    assert not (tmp_path / "nowhere").exists()


def test_a_killed_create_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "i" / "vectors.lance" / "_versions").mkdir(parents=True)
    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add([1], draw(1))
    assert len(VectorIndex.open(tmp_path / "i")) == 1


def test_foreign_tables_and_other_formats_are_refused(
    tmp_path: Path, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lancedb

    lancedb.connect(str(tmp_path / "other")).create_table("vectors", [{"vector": [1.0, 2.0]}])
    with pytest.raises(SearchError, match="a LanceDB table that polysense did not make"):
        VectorIndex.open(tmp_path / "other")
    for version, hint in ((1, "upgrade polysense"), (3, "index the table again")):
        monkeypatch.setattr("polysense.search.table._FORMAT", version)
        with pytest.raises(SearchError, match=rf"is an index of format 2; this version of polysense reads .*{hint}"):
            VectorIndex.open(index.location)


@pytest.mark.parametrize("part", ["_versions", "data"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "noise", "gone"])
def test_damaged_files_are_a_clear_error(index: VectorIndex, part: str, damage: str, tmp_path: Path) -> None:
    index.close()
    copy = tmp_path / f"{part} {damage}"
    shutil.copytree(index.location, copy)
    for path in (copy / "vectors.lance" / part).iterdir():
        whole = path.read_bytes()
        noise = np.random.default_rng(0).bytes(len(whole))
        path.write_bytes({"cut": whole[:-20], "emptied": b"", "noise": noise, "gone": b""}[damage])
        if damage == "gone":
            path.unlink()
    with pytest.raises(SearchError) as error:
        VectorIndex.open(copy).search(draw(1), 60)
    assert str(copy) in str(error.value)


def test_object_storage_is_named_to_lancedb_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No storage is reached here: LanceDB's `connect` is replaced by one to a local folder."""
    import lancedb

    calls: list[tuple[str, Any]] = []
    real = lancedb.connect

    def connect(uri: str, storage_options: Any) -> Any:
        calls.append((uri, storage_options))
        return real(str(tmp_path))

    monkeypatch.setattr(lancedb, "connect", connect)
    with VectorIndex.create("s3://bucket/some/photos", dim=2, storage_options={"region": "eu"}) as index:
        index.add([1], draw(1, 0, 2))
        assert index.location == "s3://bucket/some/photos"
        with VectorIndex.open("s3://bucket/some/photos", writable=True) as other:  # no lock there
            other.add([2], draw(1, 1, 2))
    assert len(VectorIndex.open("az://container/photos/")) == 2
    assert calls[0] == ("s3://bucket/some/photos", {"region": "eu"})
    assert calls[-1] == ("az://container/photos", None)
    for location in ("s3://", "gs:///"):
        with pytest.raises(SearchError, match="names no bucket"):
            VectorIndex.open(location)

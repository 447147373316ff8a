"""Kills, cuts and flipped bits: nothing acknowledged is lost, and what is lost to the disk is told."""

from __future__ import annotations

import os
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

from polysense.errors import SearchError
from polysense.search import VectorIndex

DIM = 8
BATCH = 5

# Adds batches until it is killed, and says after each that it is there. Now and then it updates, deletes or merges.
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


def vectors_of(number: int) -> np.ndarray:
    drawn = np.random.default_rng(number).standard_normal((BATCH, DIM))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def test_sigkill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    VectorIndex.create(folder, dim=DIM).close()
    there: set[int] = set()
    gone: set[int] = set()
    number, moments = 0, random.Random(0)
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            reader = VectorIndex.open(folder)
            assert {*reader.ids.to_list()} == there - gone
            writer.stdin.write("go\n")
            writer.stdin.flush()
            lines = [writer.stdout.readline() for _ in range(moments.randrange(15))]
            time.sleep(moments.uniform(0.0, 0.03))
            writer.send_signal(signal.SIGKILL)
            said = [line.split() for line in (*lines, *writer.stdout) if line.endswith("\n")]
        for what, which in said:
            if what == "added":
                there |= set(range(int(which), int(which) + BATCH))
            else:
                gone.add(int(which))
        with VectorIndex.open(folder, writable=True) as index:  # the lock went with the process
            index.verify()
            found = {*index.ids.to_list()}
            assert there - gone - found == set() or there - gone - found == {max(there) - BATCH + 2}
            # At most one batch more: written, and killed before it could say so. All of it, or nothing.
            more = found - there
            assert more in (set(), set(range(max(there, default=-1) + 1, max(there, default=-1) + 1 + BATCH)))
            # A deletion that was said is done; one that was not may be.
            assert not found & gone
            gone |= there - found
            there |= more
            for start in range(0, max(there, default=-1) + 1, BATCH):
                ids = [one for one in range(start, start + BATCH) if one in found]
                vectors, rows = index.get(ids)
                np.testing.assert_allclose(vectors, vectors_of(start)[[one - start for one in ids]], rtol=1e-5)
                assert rows["number"].to_list() == ids
            named = {file.name for file in index._snapshot.manifest.files}
            assert {path.name for path in (folder / "files").iterdir()} == named
        number = max(there, default=-BATCH) // BATCH * BATCH + BATCH
    assert len(there) > 10 * BATCH


class PowerCutError(Exception):
    pass


class Disk:
    """What a folder looks like after a power cut: the names and the bytes that were synced, and no others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes: dict[int, bytes] = {}
        self._names: dict[Path, dict[Path, int]] = {}
        for path in folder.rglob("*"):
            if path.is_file():
                self._bytes[path.stat().st_ino] = path.read_bytes()
                self._names.setdefault(path.parent, {})[path] = path.stat().st_ino

    def sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self._names[path] = {one: one.stat().st_ino for one in path.iterdir() if one.is_file()}
        else:
            self._bytes[os.fstat(descriptor).st_ino] = path.read_bytes()

    def restore(self) -> None:
        for path in self._folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for names in self._names.values():
            for path, inode in names.items():
                path.write_bytes(self._bytes.get(inode, b""))


def test_a_power_cut_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and names that were not synced are lost, which SIGKILL alone never shows."""
    start = tmp_path / "start"
    with VectorIndex.create(start, dim=DIM) as index:
        index.add(np.arange(BATCH), vectors_of(0), {"number": range(BATCH)})
        index.delete([1])
    outcomes = []
    real_fsync, real_replace = os.fsync, Path.replace
    for step in range(100):
        folder = tmp_path / f"cut{step}"
        shutil.copytree(start, folder)
        disk = Disk(folder)
        steps = iter(range(step))

        def tick() -> None:
            if next(steps, None) is None:  # noqa: B023
                raise PowerCutError

        def fsync(descriptor: int) -> None:
            tick()
            real_fsync(descriptor)
            disk.sync(descriptor)  # noqa: B023

        def replace(self: Path, target: Any) -> Path:
            tick()
            return real_replace(self, target)

        index = VectorIndex.open(folder, writable=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr(Path, "replace", replace)
            try:
                index.update(np.arange(2, 2 + BATCH), vectors_of(5), {"number": range(BATCH)})
                done = True
            except PowerCutError:
                done = False
        index.close()
        disk.restore()
        with VectorIndex.open(folder, writable=True) as again:
            again.verify()
            new = sorted(again.ids.to_list()) == [0, *range(2, 2 + BATCH)]
            assert new or sorted(again.ids.to_list()) == [0, 2, 3, 4]
            assert new or not done
            again.add([100], vectors_of(9)[:1])
        outcomes.append((new, done))
        if done:
            break
    assert outcomes[0] == (False, False)
    assert outcomes[-1] == (True, True)
    assert len(outcomes) >= 6


def test_rubbish_that_no_manifest_names_is_ignored_and_swept(tmp_path: Path) -> None:
    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add(np.arange(BATCH), vectors_of(0))
    files = tmp_path / "i" / "files"
    (files / "00000099.vectors").write_bytes(b"half a segm")
    (tmp_path / "i" / "manifest.json.part").write_bytes(b'{"format"')
    assert len(VectorIndex.open(tmp_path / "i")) == BATCH
    assert (files / "00000099.vectors").exists()  # a reader touches nothing
    with VectorIndex.open(tmp_path / "i", writable=True) as index:
        assert not (files / "00000099.vectors").exists()
        index.add([100], vectors_of(9)[:1])


@pytest.mark.parametrize("ending", ["vectors", "arrow", "deleted"])
def test_a_cut_file_is_told_at_opening(tmp_path: Path, ending: str) -> None:
    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add(np.arange(BATCH), vectors_of(0), {"n": range(BATCH)})
        index.delete([1])
    (path,) = (tmp_path / "i" / "files").glob(f"*.{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    for writable in (False, True):
        with pytest.raises(SearchError, match=rf"{path.name}: is damaged: it has [\d,]+ bytes"):
            VectorIndex.open(tmp_path / "i", writable=writable)
    path.unlink()
    with pytest.raises(SearchError, match=f"{path.name} is not there; restore"):
        VectorIndex.open(tmp_path / "i")
    path.write_bytes(whole)
    assert len(VectorIndex.open(tmp_path / "i", writable=True)) == BATCH - 1


@pytest.mark.parametrize("ending", ["vectors", "arrow", "deleted"])
def test_a_flipped_bit_is_found(tmp_path: Path, ending: str) -> None:
    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add(np.arange(BATCH), vectors_of(0), {"n": range(BATCH)})
        index.delete([1])
        assert index.verify() == 3
        (path,) = (tmp_path / "i" / "files").glob(f"*.{ending}")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        with pytest.raises(SearchError, match=f"{path.name}: is damaged: it does not have the checksum"):
            index.verify()


def test_a_damaged_manifest_is_told(tmp_path: Path) -> None:
    VectorIndex.create(tmp_path / "i", dim=DIM).close()
    path = tmp_path / "i" / "manifest.json"
    text = path.read_text()
    for damaged, match in (
        (text[:-3], "is damaged"),
        (text.replace('"dim": 8', '"dim": 9'), "checksum"),
        ("[]", "is damaged"),
        (text.replace('"format": 1', '"format": 99'), "upgrade polysense"),
    ):
        path.write_text(damaged)
        with pytest.raises(SearchError, match=match):
            VectorIndex.open(tmp_path / "i")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add(np.arange(BATCH), vectors_of(0))
        with pytest.raises(SearchError, match=rf"being written by another writer \(process {os.getpid()}\)"):
            VectorIndex.open(tmp_path / "i", writable=True)
        assert len(VectorIndex.open(tmp_path / "i")) == BATCH
    VectorIndex.open(tmp_path / "i", writable=True).close()


def test_a_reader_that_opens_while_files_go_takes_the_newer_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polysense.search.manifest import Manifest

    with VectorIndex.create(tmp_path / "i", dim=DIM) as index:
        index.add(np.arange(BATCH), vectors_of(0))
        stale = Manifest.read(tmp_path / "i")
        index.delete([0])
        index.compact()
        real, answers = Manifest.read, iter([stale])
        monkeypatch.setattr(Manifest, "read", classmethod(lambda cls, folder: next(answers, None) or real(folder)))
        assert VectorIndex.open(tmp_path / "i").ids.to_list() == [1, 2, 3, 4]

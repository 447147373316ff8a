"""One writer per folder, by a lock that ends with its process."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polysense.core import lock
from polysense.core.lock import LOCK_FILE, locked, require_unlocked
from polysense.errors import LockedError

HOLD = """
import os, sys, time
from pathlib import Path
from polysense.core.lock import locked
with locked(Path(sys.argv[1])):
    if len(sys.argv) > 2 and os.fork() == 0:  # a worker that outlives its parent
        time.sleep(60)
    print("ready", flush=True)
    time.sleep(60)
"""


def hold(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    assert holder.stdout is not None
    holder.stdout.close()


def test_the_second_one_is_refused_by_name_and_the_folder_is_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with locked(folder):
        facts = json.loads((folder / LOCK_FILE).read_text())
        assert facts["pid"] == os.getpid()
        for attempt in (require_unlocked, lambda path: locked(path).__enter__()):
            with pytest.raises(LockedError, match=rf"run: this process \({os.getpid()}\) is writing to this folder"):
                attempt(folder)
    assert list(folder.iterdir()) == []
    with locked(folder):
        pass


def test_another_process_is_named_and_its_lock_ends_with_it(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    try:
        for attempt in (require_unlocked, lambda path: locked(path).__enter__()):
            with pytest.raises(LockedError, match=rf"process {holder.pid} on '.+', since 20.+, is writing"):
                attempt(tmp_path)
    finally:
        end(holder)
    assert (tmp_path / LOCK_FILE).exists()  # what a killed process leaves blocks nobody
    require_unlocked(tmp_path)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_a_worker_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    holder = hold(tmp_path, "with a worker")
    try:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with locked(tmp_path):
            pass
    finally:
        end(holder)


def test_of_many_processes_one_has_it_at_a_time(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from polysense.core.lock import locked
from polysense.errors import LockedError
folder, until = Path(sys.argv[1]), float(sys.argv[2])
while time.time() < until:
    try:
        with locked(folder):
            own = folder / "owner"
            own.touch(exist_ok=False)
            own.unlink()
            print("had it")
    except LockedError:
        pass
"""
    until = str(time.time() + 3)
    command = [sys.executable, "-c", program, str(tmp_path), until]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()


def test_where_there_are_no_locks_a_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        pass
    assert "has no locks (No locks available): don't start two runs in it" in caplog.text


def test_a_broken_lock_file_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b"\xff{")
    with locked(tmp_path):
        pass
    assert lock._holder(-1) == "another process"

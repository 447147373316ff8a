"""One writer per folder, by a lock that ends with its process."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
    num_held = 0
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        num_held += output.count(b"had it")
    assert num_held > 1


def test_where_there_are_no_locks_a_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
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


def refusal(folder: Path) -> str | None:
    """What another thread of this process hears that would lock a folder; None where it gets it."""

    def attempt() -> str | None:
        try:
            with locked(folder):
                return None
        except LockedError as error:
            return str(error)

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(attempt).result(timeout=60)


def test_of_two_threads_one_has_it_from_the_first_step_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, str | None] = {}
    take, unlink, close = lock._take, Path.unlink, os.close

    def meanwhile(step: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            monkeypatch.undo()
            result = act(*arguments, **options)
            said[step] = refusal(tmp_path)
            return result

        return run

    monkeypatch.setattr(lock, "_take", meanwhile("taking", take))
    with locked(tmp_path):
        said["within"] = refusal(tmp_path)
        monkeypatch.setattr(Path, "unlink", meanwhile("unlinking", unlink))
    with locked(tmp_path):
        monkeypatch.setattr(os, "close", meanwhile("closing", close))
    assert list(said) == ["taking", "within", "unlinking", "closing"]
    for message in said.values():
        assert message is not None
        assert f"this process ({os.getpid()}) is writing to this folder" in message
    assert refusal(tmp_path) is None


def test_asking_takes_the_lock_from_no_thread_that_is_about_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LOCK_FILE).touch()
    has_it, done = threading.Event(), threading.Event()
    take = lock._take

    def hold_on() -> None:
        with locked(tmp_path):
            has_it.set()
            done.wait(60)

    with ThreadPoolExecutor(1) as threads:

        def slow(descriptor: int) -> bool:  # a thread locks the folder while this one asks
            monkeypatch.undo()
            threads.submit(hold_on)
            has_it.wait(0.5)
            return take(descriptor)

        monkeypatch.setattr(lock, "_take", slow)
        try:
            require_unlocked(tmp_path)
            assert has_it.wait(60)
            program = "import sys; from pathlib import Path; from polysense.core.lock import require_unlocked\n"
            program += "require_unlocked(Path(sys.argv[1]))"
            other = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
            assert f"process {os.getpid()} on" in other.stderr
        finally:
            done.set()


def test_a_folder_that_could_not_be_locked_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock, "_acquire", full)
    with pytest.raises(OSError, match="No space left"):
        locked(tmp_path).__enter__()
    monkeypatch.undo()
    assert refusal(tmp_path) is None

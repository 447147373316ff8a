"""Two processes that start, or resume, in one folder at once: one does the work, the other is refused by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_processes import run_process, timeless
from tiny_run import TINY, write_rows

from polysense.core.json import read_json


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_resumed", [False, True])
def test_one_of_two_starts_at_once_is_refused(tmp_path: Path, is_resumed: bool) -> None:
    table = write_rows(tmp_path / "data.csv", 200)
    settings = ["training.epochs=8"]
    assert run_process(table, tmp_path / "straight" / "run", settings).wait() == 0
    folder = tmp_path / "both" / "run"
    if is_resumed:
        first = run_process(table, folder, settings)
        while not (folder / "checkpoints" / "last.safetensors").exists():
            assert first.poll() is None
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    processes = [run_process(table, folder, settings, heard=True) for _ in range(2)]
    said = [process.communicate()[1].decode() for process in processes]
    codes = [process.returncode for process in processes]
    # Whoever comes when the other is done has nothing to do; on a slow machine both may end well.
    assert 0 in codes
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or (code == 2 and "is writing to this folder" in text), text
        assert "bug in polysense" not in text
    assert timeless(folder) == timeless(tmp_path / "straight" / "run")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="children are listed in /proc")
def test_a_comparison_whose_process_is_killed_leaves_none_at_work_and_goes_on(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "data.csv", 200)
    small = [setting for setting in TINY if not setting.startswith("evaluation.")]

    def command(folder: Path) -> list[str]:
        over = ["--over", "model.fusion.type=concat,gated", "--seeds", "2", "--jobs", "2"]
        line = ["compare", str(table), "--target", "label", "-o", str(folder), "--preset", "fast", "-q", *over, *small]
        return [sys.executable, "-m", "polysense", *line]

    assert subprocess.run(command(tmp_path / "straight" / "c"), stdout=subprocess.DEVNULL, check=False).returncode == 0
    folder = tmp_path / "killed" / "c"
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL)
    while not list(folder.glob("runs/*/*/checkpoints/last.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    second = subprocess.run(command(folder), capture_output=True, text=True, encoding="utf-8", check=False)
    if process.poll() is None:
        assert second.returncode == 2
        assert "is writing to this folder" in second.stderr
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        process.kill()
        process.wait()
        assert children
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{child}/cmdline").exists() and is_at_work(child) for child in children):
            assert time.monotonic() < deadline, "a training goes on without its comparison"
            time.sleep(0.05)
    assert subprocess.run(command(folder), stdout=subprocess.DEVNULL, check=False).returncode == 0
    straight, resumed = (read_json(tmp_path / name / "c" / "comparison.json", dict) for name in ("straight", "killed"))
    assert len(straight["rows"]) == 6
    for one, other in zip(straight["rows"], resumed["rows"], strict=True):
        assert (one["name"], one["rank"], one["measures"]) == (other["name"], other["rank"], other["measures"])


def is_at_work(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

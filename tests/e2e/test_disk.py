"""Full disks and folders that can't be written to: a clear message, nothing lost, and the run goes on afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_kill import TINY, write_rows

from polysense.bundle import load

NOBODY = 65534

PROGRAM = """
import os, resource, sys
if os.geteuid() == 0 and sys.argv[1] == "nobody":
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
elif sys.argv[1].isdigit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from polysense.cli.app import main
sys.exit(main(sys.argv[2:]))
"""


def command(limit: str, *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, limit, *line], capture_output=True, text=True, timeout=300, check=False
    )


def open_to_all(folder: Path) -> None:
    for path in [folder, *folder.parents]:
        if os.access(path, os.W_OK) and path != Path("/") and path.stat().st_uid == os.getuid():
            path.chmod(path.stat().st_mode | 0o555)


@pytest.mark.skipif(os.name != "posix", reason="limits and users of POSIX systems")
def test_a_full_disk_ends_a_run_with_a_message_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    table, folder = write_rows(tmp_path / "data.csv"), tmp_path / "run"
    line = ("train", str(table), "--target", "label", "-o", str(folder), "--preset", "fast", "--resume", "-q", *TINY)
    full = command("40000", *line)  # the checkpoint is larger
    assert full.returncode == 2, full.stderr
    assert "checkpoints/last.safetensors: the checkpoint can't be written: " in full.stderr
    assert "File too large" in full.stderr
    assert "make room, then resume" in full.stderr
    assert "Traceback" not in full.stderr
    again = command("-", *line)
    assert again.returncode == 0, again.stderr
    assert load(folder).schema.names == ("size", "shop")
    assert not list(folder.rglob("*.part"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs a user who is not root to become")
def test_a_folder_that_cant_be_written_to_is_named_and_its_bundle_is_used_all_the_same(tmp_path: Path) -> None:
    table, folder = write_rows(tmp_path / "data.csv"), tmp_path / "run"
    open_to_all(tmp_path)
    line = ("train", str(table), "--target", "label", "--preset", "fast", "-q", *TINY)
    denied = command("nobody", *line, "-o", str(folder))
    assert denied.returncode == 2, denied.stderr
    assert f"{folder}: Permission denied" in denied.stderr
    assert not folder.exists()
    made = command("-", *line, "-o", str(folder))
    assert made.returncode == 0, made.stderr
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    resumed = command("nobody", "train", str(folder), "--resume", "-q")
    assert resumed.returncode == 2, resumed.stderr
    assert "Permission denied" in resumed.stderr
    predicted = command("nobody", "predict", str(folder), str(table))
    assert predicted.returncode == 0, predicted.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

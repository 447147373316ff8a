"""Full disks and folders that can't be written to: a clear message, nothing lost, and the run goes on afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import TINY, write_rows

from polysense.bundle import load

PROGRAM = """
import ctypes, os, resource, sys
if sys.argv[1] == "unprivileged":  # without the capabilities by which root passes over permissions
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0
elif sys.argv[1].isdigit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from polysense.cli.app import main
sys.exit(main(sys.argv[2:]))
"""


def command(limit: str, *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, limit, *line], capture_output=True, text=True, timeout=300, check=False
    )


def close(folder: Path) -> None:
    """Takes the permission to write away, from the owner too."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
def test_a_folder_that_cant_be_written_to_is_named_and_its_bundle_is_used_all_the_same(tmp_path: Path) -> None:
    table, parent = write_rows(tmp_path / "data.csv"), tmp_path / "parent"
    parent.mkdir()
    folder = parent / "run"
    line = ("train", str(table), "--target", "label", "--preset", "fast", "-q", *TINY, "-o", str(folder))
    made = command("-", *line)
    assert made.returncode == 0, made.stderr
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    close(parent)
    for denied in ((*line[:-1], str(parent / "new")), ("train", str(folder), "--resume", "-q")):
        done = command("unprivileged", *denied)
        assert done.returncode == 2, done.stderr
        assert "Permission denied" in done.stderr
        assert str(parent) in done.stderr
        assert "Traceback" not in done.stderr
    predicted = command("unprivileged", "predict", str(folder), str(table))
    assert predicted.returncode == 0, predicted.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (parent / "new").exists()

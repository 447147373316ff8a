"""Cells decoded on a Ray of this machine: the same store, and nothing is left behind."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import polysense
from polysense.errors import ConfigError

ray = pytest.importorskip("ray", reason="the extra `cluster`")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rng = np.random.default_rng(0)
    lines = ["photo,label"]
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (24, 40, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'ab'[i % 2]}")
    (tmp_path / "5.png").write_bytes(b"no picture")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def prepared(table: Path, on: str) -> tuple[polysense.api.PreparedCells, bytes]:
    cells = polysense.prepare(table, target="label", num_workers=2, progress=False, on=on)
    (photo,) = cells.columns
    return cells, (photo.folder / "cells.bin").read_bytes()


# Ray 2.55 leaves files of its own unclosed.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_cluster_gives_the_same_store_and_is_not_asked_for_what_is_there(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, expected = prepared(table, "local")
    for path in local.columns[0].folder.iterdir():
        path.unlink()
    before = signal.getsignal(signal.SIGTERM)
    cells, data = prepared(table, "ray")
    assert data == expected
    assert cells.columns[0].num_new == 39
    assert [cell.as_dict() for cell in cells.unreadable] == [cell.as_dict() for cell in local.unreadable]
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cluster_that_is_not_there_is_named(table: Path) -> None:
    with pytest.raises(ConfigError, match="no work can be given to a Ray cluster at 'nowhere'"):
        polysense.prepare(table, target="label", on="ray", ray_address="nowhere", progress=False)

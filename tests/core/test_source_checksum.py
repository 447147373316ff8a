"""The checksum of the source changes with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polysense.core import source_checksum as module
from polysense.core.source_checksum import source_checksum


def test_a_change_of_a_network_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(module._ROOT, tmp_path / "polysense", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(module, "_ROOT", tmp_path / "polysense")
    source_checksum.cache_clear()
    before = source_checksum()
    (tmp_path / "polysense" / "cli" / "more.py").write_text("")
    source_checksum.cache_clear()
    assert source_checksum() == before
    with (tmp_path / "polysense" / "nn" / "backbone.py").open("a") as file:
        file.write("# changed\n")
    source_checksum.cache_clear()
    assert source_checksum() != before
    monkeypatch.undo()
    source_checksum.cache_clear()

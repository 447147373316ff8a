"""What packages bring is read once, and again where others can be imported."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from polysense.core.packages import entry_points


def test_the_packages_are_read_once_for_each_path_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda: reads.append(1) or read())
    monkeypatch.syspath_prepend(tmp_path / "empty")
    assert [entry_points("polysense.fruit"), entry_points("polysense.fruit")] == [(), ()]
    assert len(reads) == 1
    facts = tmp_path / "site" / "orchard-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[polysense.fruit]\npear = orchard:Pear\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    (point,) = entry_points("polysense.fruit")
    assert (point.name, point.value, point.dist and point.dist.name) == ("pear", "orchard:Pear", "orchard")
    assert len(reads) == 2

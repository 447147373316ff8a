"""The decoding benchmark still measures: the core's types change, and scripts are not type-checked."""

from __future__ import annotations

import pytest
from benchmark_scripts import load

DECODING = load("decoding")


def test_the_cache_changes_no_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "--tokens 6 --width 16 --layers 1 --rows 3 --memory 5 --vocabulary 20 --repeats 1 --device cpu"
    monkeypatch.setattr("sys.argv", ["decoding.py", *sizes.split()])
    DECODING.main()
    printed = capsys.readouterr().out
    assert "18 tokens in 3 rows" in printed
    assert "texts equal" in printed

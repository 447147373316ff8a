"""A short run of damaged files; processes that hang or end are listed with what makes them again."""

from __future__ import annotations

import json

import pytest

import fuzz_media


def test_a_short_run_lists_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz_media.main(["--cells", "60"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["failures"] == []
    assert sum(result["tables"].values()) == 12
    assert sum(result["media"].values()) >= 48
    assert {"read", "refused"} <= result["media"].keys()


def test_a_process_that_hangs_or_ends_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_media, "HANG_SECONDS", 0.5)
    hanging = [*fuzz_media.lines_of(["-c", "import time; print('{\"name\": 1}', flush=True); time.sleep(60)"])]
    assert hanging == [{"name": 1}, {"ended": "hangs: no word for 0.5 seconds"}]
    monkeypatch.setattr(fuzz_media, "HANG_SECONDS", 60.0)
    (ended,) = fuzz_media.lines_of(["-c", "import os; os.abort()"])
    assert ended["ended"].startswith("ends the process with -6")

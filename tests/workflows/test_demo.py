"""The demo goes on wherever it was stopped, disturbs nobody, and says what its four models are worth."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import polysense.workflows.demo as module
from polysense.core.json import read_json
from polysense.core.lock import locked
from polysense.data.demo.table import make_demo
from polysense.errors import CheckpointError, ConfigError, LockedError
from polysense.workflows.demo import DemoSummary, _table, demo


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "make_demo", functools.partial(make_demo, num_rows=60))


def test_a_demo_that_was_stopped_goes_on_and_is_not_done_twice(
    tmp_path: Path, stopped_after_an_epoch: Callable[[], AbstractContextManager[None]]
) -> None:
    folder = tmp_path / "demo"
    with stopped_after_an_epoch():
        demo(folder, epochs=1, progress=False)
    assert not (folder / "summary.json").exists()
    with pytest.raises(CheckpointError, match=r"training\.seed was 0 and is 1"):
        demo(folder, seed=1, epochs=1, progress=False)
    for place in (folder, folder / "data"):  # a training and a demo at work there
        with locked(place), pytest.raises(LockedError, match="is writing to this folder"):
            demo(folder, epochs=1, progress=False)
    summary = demo(folder, epochs=1, progress=False)
    assert set(summary["test_accuracy"]) == {"image", "audio", "text", "ensemble", "majority", "fused"}
    assert read_json(folder / "summary.json", dict)["test_accuracy"] == summary["test_accuracy"]
    with pytest.raises(ConfigError, match="holds a finished demo already"):
        demo(folder, epochs=1, progress=False)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds a run already"):
        demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
    with pytest.raises(ConfigError, match="found an empty path"):
        demo("")


def summary_of(fused: float) -> DemoSummary:
    accuracy = {"image": 0.6, "audio": 0.5, "note": 0.4, "ensemble": 0.8, "majority": 0.1, "fused": fused}
    return DemoSummary(
        test_accuracy=accuracy,
        interval={name: [value, value] for name, value in accuracy.items()},
        gain_over_best_single=fused - 0.6,
        gain_over_ensemble=fused - 0.8,
        seconds=50.0,
        folder="runs/demo",
    )


def test_the_bars_fit_80_characters() -> None:
    text = _table(summary_of(0.85))
    assert max(map(len, text.splitlines())) <= 80
    assert [line.split()[0] for line in text.splitlines()[1:7]] == [
        "majority", "note", "audio", "image", "ensemble", "fused",
    ]  # fmt: skip

"""Whatever point a run is killed at, one command goes on, and all files are those of a run that was not killed.

Write points are found, not listed (see `write_points`), so those of later code are among them. Random
moments are slow tests: `POLYSENSE_KILLS=100 pytest -m slow tests/e2e/test_kill.py` kills as many processes per setting.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from backbone_folders import save_bert
from run_processes import run_process, timeless
from tiny_run import TINY, write_rows
from write_points import contents, kind_of_point, one_of_each_kind, snapshots_of, stopped_clocks

import polysense


def train(table: Path, folder: Path, *, resume: bool = False, **options: Any) -> polysense.Run:
    return polysense.fit(
        table, target="label", output=folder, preset="fast", overrides=TINY, resume=resume, progress=False, **options
    )


KILLS = int(os.environ.get("POLYSENSE_KILLS", "3"))
CHECKPOINTS = ("last.safetensors", "previous.safetensors")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def damaged(folder: Path, place: Path) -> Path | None:
    """A copy in which the last checkpoint is damaged; None where there is none before it."""
    if not all((folder / "checkpoints" / file).is_file() for file in CHECKPOINTS):
        return None
    copy = Path(shutil.copytree(folder, place))
    flip_a_bit(copy / "checkpoints" / CHECKPOINTS[0])
    return copy


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("all_points", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_write_point_is_resumed_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, all_points: bool
) -> None:
    """In the suite one point of each kind, all of them as slow; see `kind_of_point`.

    At some points the last checkpoint is damaged too: the run goes on from the one before it, to the same files.
    """
    num_damaged = 0
    table = write_rows(tmp_path / "data.csv")  # as far from the run as from its copies, whose recipes name it
    with stopped_clocks(monkeypatch):
        with snapshots_of(tmp_path / "straight" / "0" / "run", tmp_path / "killed", monkeypatch) as snapshots:
            train(table, snapshots.folder)
        expected = contents(snapshots.folder)
        # Of less the instrument would be broken, not the run better.
        assert min(snapshots.points[kind] for kind in ("open", "write", "rename", "fsync", "mkdir")) >= 40
        assert len(snapshots.copies) >= 200
        points = snapshots.copies if all_points else one_of_each_kind(snapshots.copies)
        events = {(event, place) for event, place in map(kind_of_point, (name for name, _ in points))}
        assert events >= {(event, place) for event in ("open", "half", "fsync") for place in ("file", "folder")}
        assert events >= {("half", "checkpoint"), ("rename", "checkpoint"), ("write", "log"), ("half", "log")}
        for number, (name, folder) in enumerate(points):
            few = num_damaged < 1 or (all_points and number % 24 == 1)
            copy = damaged(folder, tmp_path / "damaged" / str(number) / "run") if few else None
            if copy is not None:
                with caplog.at_level(logging.WARNING, logger="polysense"):
                    train(table, copy, resume=True)
                assert "resuming from the checkpoint before it" in caplog.text
                assert contents(copy) == expected, f"{name}, damaged"
                num_damaged += 1
                caplog.clear()
            train(table, folder, resume=True)
            assert contents(folder) == expected, name
        assert num_damaged >= (3 if all_points else 1)


# What a run may train or compute beside its network, by name, and its settings.
BESIDE: dict[str, tuple[str, ...]] = {
    "folds": ("evaluation.folds=2", "evaluation.baselines=false"),
    "simple baselines": ("evaluation.simple_baselines=true", "evaluation.baselines=false"),
    "estimators": (
        "evaluation.baselines=false",
        "model.heads.label.estimators={linear: {type: linear}, forest: {type: forest, num_trees: 5}, "
        "boosting: {type: boosting, max_iterations: 10}}",
    ),
    "feature store": ("evaluation.baselines=false",),
}
EVERY = int(os.environ.get("POLYSENSE_EVERY", "10"))


def train_beside(table: Path, work: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in `work`, with the store of frozen features beside it, so that both are as a kill leaves them."""
    monkeypatch.setenv("POLYSENSE_CACHE", str(work / "cache"))
    own = {setting.partition("=")[0] for setting in BESIDE[name]}
    overrides = [setting for setting in TINY if setting.partition("=")[0] not in own]
    pretrained = table.parent / "bert"
    polysense.fit(
        table, target="label", output=work / "run", preset="fast", resume=True, progress=False,
        overrides=[*overrides, *BESIDE[name]], pretrained=pretrained if pretrained.exists() else None,
    )  # fmt: skip


def run_files(work: Path) -> dict[str, bytes]:
    """The run's files; the store is no part of it, and what it gives is in them."""
    return contents(work / "run")


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("name", "is_wide"), [("folds", False), *(pytest.param(name, True, marks=pytest.mark.slow) for name in BESIDE)]
)
def test_what_is_trained_beside_a_network_is_resumed_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_wide: bool
) -> None:
    """In the suite some points of the folds; as slow every tenth point (`POLYSENSE_EVERY`), and one of each kind."""
    table = write_rows(tmp_path / "data.csv")
    if name == "feature store":
        save_bert(tmp_path / "bert")
        words = ("the cat sat", "it was not", "on the mat", "not amused", "to be or not")
        lines = table.read_text(encoding="utf-8").splitlines()
        texts = ["note", *(f"{words[i % 5]} {words[i * 7 % 3]} {i}" for i in range(len(lines) - 1))]
        table.write_text("\n".join(f"{line},{text}" for line, text in zip(lines, texts, strict=True)) + "\n")
    with stopped_clocks(monkeypatch):
        with snapshots_of(tmp_path / "straight" / "0" / "work", tmp_path / "killed", monkeypatch) as snapshots:
            train_beside(table, snapshots.folder, name, monkeypatch)
        expected = run_files(snapshots.folder)
        inner = [(f"{event} {path.removeprefix('run/')}", copy) for event, path, copy in split_names(snapshots.copies)]
        if is_wide:
            points = [*one_of_each_kind(inner), *inner[::EVERY]]
        else:
            points = one_of_each_kind([point for point in inner if " folds/" in point[0]])
            assert len(points) >= 6
            points = points[:: len(points) // 3]
        if name == "feature store":
            assert sum("cache" in point for point, _ in inner) >= 5  # or nothing was stored
        for number, (point, work) in enumerate(points):
            again = Path(shutil.copytree(work, tmp_path / "again" / str(number) / "work")) if work.exists() else work
            train_beside(table, again, name, monkeypatch)
            assert run_files(again) == expected, point


def split_names(copies: list[tuple[str, Path]]) -> list[tuple[str, str, Path]]:
    """Events, paths and copies."""
    return [(*name.partition(" ")[::2], copy) for name, copy in copies]


def compare(table: Path, folder: Path) -> object:
    return polysense.compare(
        table, ["model.fusion.type=concat,gated"], target="label", output=folder, preset="fast", seeds=1, keep=True,
        unimodal=False, overrides=[*TINY, "model.heads.label.estimators={}"],
    )  # fmt: skip


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("all_points", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_comparison_killed_at_any_write_point_goes_on_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_points: bool
) -> None:
    """Two trainings, their models, and the comparison's own files; in the suite one point of each kind."""
    table = write_rows(tmp_path / "data.csv")
    with stopped_clocks(monkeypatch):
        with snapshots_of(tmp_path / "straight" / "0" / "compared", tmp_path / "killed", monkeypatch) as snapshots:
            compare(table, snapshots.folder)
        expected = without_folder(snapshots.folder)
        assert len(snapshots.copies) >= 200
        for name, folder in snapshots.copies if all_points else one_of_each_kind(snapshots.copies):
            compare(table, folder)
            assert without_folder(folder) == expected, name


def without_folder(folder: Path) -> dict[str, bytes]:
    """`contents`, without the name that the folder has: copies lie elsewhere."""
    files = contents(folder)
    return {name: content.replace(str(folder).encode(), b"FOLDER") for name, content in files.items()}


# By name: settings, and others with which it is resumed.
SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "no workers": ([], []),
    "one worker": (["data.num_workers=1"], []),
    "two workers": (["data.num_workers=2"], []),
    "other workers": (["data.num_workers=2"], ["data.num_workers=0"]),
    "accumulation": (["training.accumulate=2"], []),
    "plateau": (["training.schedule.type=plateau"], []),
    "ema": (["training.ema=0.9"], []),
    "balance": (["training.balance=gradient_blending"], []),
    "token batches": (["training.batching={type: tokens, max_tokens: 64}"], []),
}


@pytest.mark.slow
@pytest.mark.timeout(600 + 120 * KILLS)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_killed_at_a_random_moment_is_resumed_to_the_same_files(tmp_path: Path, name: str) -> None:
    settings, others = SETTINGS[name]
    table = write_rows(tmp_path / "data.csv", 200)
    straight = tmp_path / "straight" / "run"
    started = time.monotonic()
    assert run_process(table, straight, settings).wait() == 0
    seconds = time.monotonic() - started
    expected = timeless(straight)
    draws, killed = random.Random(name), 0
    for number in range(KILLS):
        folder = tmp_path / str(number) / "run"
        process = run_process(table, folder, settings)
        try:
            process.wait(seconds * draws.uniform(0.3, 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        assert run_process(table, folder, [*settings, *others]).wait() == 0
        result = timeless(folder)
        assert result.keys() == expected.keys()
        for file, content in expected.items():
            if not others or not file.endswith(("run.json", "recipe.yaml", "report.html", "report.md", "bundle.json")):
                assert result[file] == content, (number, file)
    assert killed, "no process was killed: it ended before"

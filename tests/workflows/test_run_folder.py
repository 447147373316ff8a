"""Who may start or resume a run in a folder, and with what."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import polysense
from polysense.core.lock import locked
from polysense.errors import CheckpointError, ConfigError, LockedError, TrainingInterrupted
from polysense.training.trainer import Trainer
from polysense.workflows import fit as fitting
from polysense.workflows.run_folder import RECORD

SMALL = (
    "training.epochs=2", "training.batch_size=16", "training.tensorboard=false", "model.width=16", "data.num_workers=0",
    "evaluation.bootstrap=10", "evaluation.contribution=false",
)  # fmt: skip
LINES = ["label,size,shop", *(f"{'ab'[i % 2]},{i % 2 + i * 7 % 10 / 5:.2f},{'pq'[i % 3 % 2]}" for i in range(40))]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("\n".join(LINES) + "\n")
    return path


def fit(table: Any, folder: Path, *overrides: str, **options: Any) -> polysense.Run:
    return polysense.fit(
        table, target="label", output=folder, preset="fast", progress=False, overrides=[*SMALL, *overrides], **options
    )


def weights(folder: Path) -> bytes:
    return (folder / "bundle" / "weights.safetensors").read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_changed_table_or_recipe_is_refused_by_name_unless_accepted(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    fit(table, folder)
    before = files(folder)
    caplog.set_level("INFO", logger="polysense")
    caplog.clear()
    for lines, change in (
        ([LINES[0], *reversed(LINES[1:])], "data.table has changed: its rows are in another order"),
        (LINES[:-1], "data.table has changed: it had 40 rows and has 39"),
        ([*LINES[:-1], "a,9.99,p"], "data.table has changed: the cells of 'label', 'size' are others"),
        (["label,size,shop,new", *(f"{line},1" for line in LINES[1:])], "data.table has changed: 'new' is new"),
    ):
        table.write_text("\n".join(lines) + "\n")
        for source in (folder, table):
            with pytest.raises(CheckpointError, match=f"not what the run was started with: .*{change}.*accept-changes"):
                polysense.fit(source, output=folder, resume=True, progress=False)
    table.write_text("\n".join(LINES) + "\n")
    with pytest.raises(CheckpointError, match=r"training\.optimizer\.lr was \S+ and is 0\.5"):
        polysense.fit(folder, resume=True, overrides=["training.optimizer.lr=0.5"], progress=False)
    with pytest.raises(CheckpointError, match="the target was label and is shop"):
        polysense.fit(table, target="shop", output=folder, resume=True, progress=False)
    assert files(folder) == before
    assert "plan:" not in caplog.text  # of what will not be done
    table.write_text("\n".join([LINES[0], *reversed(LINES[1:])]) + "\n")
    run = polysense.fit(folder, resume=True, accept_changes=True, overrides=["training.epochs=3"], progress=False)
    assert run.training.epochs == 3
    polysense.fit(folder, resume=True, progress=False)  # what was accepted is what it goes on with


def test_a_moved_table_is_the_same_one_and_a_finished_run_stays_as_it_is(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fit(table, folder)
    before = files(folder)
    for source in (folder, table):
        polysense.fit(source, output=folder, resume=True, progress=False)
        assert files(folder) == before
    moved = table.rename(tmp_path / "moved.csv")
    polysense.fit(folder, resume=True, overrides=[f"data.table={moved}", "evaluation.bootstrap=20"], progress=False)
    assert weights(folder) == before["bundle/weights.safetensors"]
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(moved, folder)


def test_an_unfinished_start_is_done_again_and_what_is_not_ours_is_not(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(CheckpointError, match=rf"holds no {RECORD}"):
        polysense.fit(folder, resume=True, progress=False)
    fit(table, folder, resume=True)  # nothing is there: it starts
    expected = weights(folder)
    for path in (folder / "checkpoints", folder / "bundle"):
        shutil.rmtree(path)  # as if it had been killed before anything was trained
    fit(table, folder)
    assert weights(folder) == expected
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(CheckpointError, match="holds a trained model and no checkpoint"):
        fit(table, folder, resume=True)
    assert weights(folder) == expected
    mine = tmp_path / "mine"
    (mine / "bundle").mkdir(parents=True)
    (mine / "recipe.yaml").write_text("# my own")
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(table, mine)
    with pytest.raises(CheckpointError, match=rf"holds no {RECORD}"):
        fit(table, mine, resume=True)
    assert (mine / "recipe.yaml").read_text() == "# my own"


def test_a_second_start_or_resume_is_refused_and_changes_nothing(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fit(table, folder)
    with locked(folder):
        before = files(folder)
        for options in ({"resume": True}, {}):
            with pytest.raises(LockedError, match=r"this process .* is writing to this folder"):
                fit(table, folder, **options)  # type: ignore[arg-type]
        assert files(folder) == before
    new = tmp_path / "new"
    with locked(new), pytest.raises(LockedError):
        fit(table, new)
    assert new.is_dir()


def test_a_start_that_fails_before_it_trains_leaves_the_folder_as_it_was(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ConfigError("no such part")

    monkeypatch.setattr("polysense.workflows.train.fit_heads", fail)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for folder in (tmp_path / "new", tmp_path / "mine"):
        with pytest.raises(ConfigError, match="no such part"):
            fit(table, folder)
    assert not (tmp_path / "new").exists()
    assert files(tmp_path / "mine") == {"notes.txt": b"mine"}


def test_a_run_stopped_in_its_baselines_goes_on_by_the_command_that_it_prints(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = "evaluation.baselines=true"
    straight, folder = tmp_path / "straight", tmp_path / "run"
    expected = fit(table, straight, baselines)
    epoch, stops = Trainer._epoch, iter([False, False, False, True])

    def stopped(self: Trainer, interrupts: Any) -> None:
        if next(stops, False):
            interrupts.received = "Ctrl-C"
        epoch(self, interrupts)

    monkeypatch.setattr(Trainer, "_epoch", stopped)
    with pytest.raises(TrainingInterrupted, match=rf"Go on with: polysense train {folder} --resume"):
        fit(table, folder, baselines)
    assert (folder / "baselines" / "0" / "checkpoints" / "last.safetensors").exists()
    run = polysense.fit(folder, resume=True, progress=False)
    assert run.metrics == expected.metrics
    assert (folder / "baselines.json").read_bytes() == (straight / "baselines.json").read_bytes()


def test_ctrl_c_while_measuring_says_how_to_go_on(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "measure", interrupted)
        with pytest.raises(TrainingInterrupted, match=r"the trained model is saved\. Go on with: polysense train"):
            fit(table, tmp_path / "run")
        rows = [dict(zip(LINES[0].split(","), line.split(","), strict=True)) for line in LINES[1:]]
        with pytest.raises(TrainingInterrupted, match=r"Go on with: polysense\.fit\(TABLE, output=.*, resume=True\)"):
            fit(rows, tmp_path / "memory")
    assert fit(rows, tmp_path / "memory", resume=True).metrics == fit(rows, tmp_path / "straight").metrics


def test_an_empty_output_is_no_current_folder(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    with pytest.raises(ConfigError, match="output: found an empty path"):
        fit(table, "")  # type: ignore[arg-type]
    assert files(tmp_path) == before

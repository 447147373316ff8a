"""What the default callbacks write and show."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_toys import ToyModel, validate

from polysense.core.log_file import LogFile
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.callbacks.jsonl import JsonlLog
from polysense.training.callbacks.progress import ProgressBar, duration
from polysense.training.callbacks.tensorboard import TensorBoard
from polysense.training.callbacks.text_log import TextLog, logged_afterwards
from polysense.training.config import TrainingConfig
from polysense.training.meter import Record
from polysense.training.monitor import Monitor
from polysense.training.run import Run
from polysense.training.trainer import Trainer, default_callbacks

Make = Callable[..., Trainer]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_jsonl_holds_every_event(make_trainer: Make, tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    result = make_trainer(validate=validate, callbacks=[JsonlLog(path)]).fit()
    records = lines(path)
    assert [r["event"] for r in records if r["event"] != "step"] == ["start", "epoch", "epoch", "epoch", "end"]
    # Every third step, and what is left at an epoch's end.
    assert [r["step"] for r in records if r["event"] == "step"] == [3, 5, 6, 9, 10, 12, 15]
    assert records[0]["steps_per_epoch"] == 5
    epochs = [r for r in records if r["event"] == "epoch"]
    assert [r["validation"] for r in epochs] == [record["validation"] for record in result.history]
    assert records[-1]["best_value"] == result.best_value
    step = next(r for r in records if r["event"] == "step")
    assert step.keys() == {
        "event", "epoch", "step", "lr", "seconds", "loss", "heads", "grad_norm", "samples_per_second",
        "input_tokens_per_second", "target_tokens_per_second", "padding",
    }  # fmt: skip
    assert step["grad_norm"] > 0


def test_jsonl_writes_null_for_what_is_not_finite(make_trainer: Make, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    nan = lambda _: lambda: {"label/accuracy": 0.5, "label/auroc": math.nan}  # noqa: E731
    make_trainer(epochs=1, validate=nan, monitor="label/accuracy", callbacks=[JsonlLog(path)]).fit()
    epoch = next(record for record in lines(path) if record["event"] == "epoch")
    assert epoch["validation"] == {"label/accuracy": 0.5, "label/auroc": None}


def test_logs_are_cut_back_to_the_checkpoint_that_a_run_resumes_from(make_trainer: Make, tmp_path: Path) -> None:
    def train(name: str, *others: Callback, resume: bool = False) -> None:
        folder = tmp_path / name
        logs = [JsonlLog(folder / "log.jsonl"), TextLog(folder / "train.log"), TensorBoard(folder / "tensorboard")]
        make_trainer(
            folder, epochs=3, log_every=1, validate=validate, callbacks=[*logs, Checkpointing(every_steps=4), *others]
        ).fit(resume=resume)

    class Dies(Callback):
        def on_step(self, run: Run) -> None:
            if run.global_step == 10:
                raise RuntimeError("killed")

    train("straight")
    with pytest.raises(RuntimeError, match="killed"):
        train("killed", Dies())
    with (tmp_path / "killed" / "log.jsonl").open("a") as file:
        file.write('{"event": "st')  # half a line
    for _ in range(2):  # a finished run stays as it is
        train("killed", resume=True)
        straight, killed = tmp_path / "straight", tmp_path / "killed"
        assert timeless(killed / "log.jsonl") == timeless(straight / "log.jsonl")
        assert messages(killed / "train.log") == messages(straight / "train.log")
        assert curves(killed / "tensorboard") == curves(straight / "tensorboard")
        assert len(list((killed / "tensorboard").iterdir())) == 1
    before = {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()}
    train("killed", resume=True)
    assert {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()} == before


def test_a_run_that_is_resumed_with_more_epochs_says_so(make_trainer: Make, tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    make_trainer(epochs=1, callbacks=[JsonlLog(path), Checkpointing()]).fit()
    make_trainer(epochs=2, callbacks=[JsonlLog(path), Checkpointing()]).fit(resume=True)
    assert [record["event"] for record in lines(path) if record["event"] != "step"] == [
        "start", "epoch", "resume", "epoch", "end",
    ]  # fmt: skip


def test_a_log_that_the_disk_does_not_take_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "a.log")
    log.open(resumed=False)
    log.write("one\ntwo")
    assert log.sync() == 2

    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    assert log._file is not None
    log._file.close()
    monkeypatch.setattr(log, "_file", Full())
    with pytest.raises(OSError, match=r"No space left on device.*a\.log"):
        log.write("three")
    log.close()


def timeless(path: Path) -> list[dict[str, Any]]:
    times = ("time", "seconds", "samples_per_second", "input_tokens_per_second", "target_tokens_per_second")
    return [{key: value for key, value in record.items() if key not in times} for record in lines(path)]


def messages(path: Path) -> list[str]:
    """What the log says, without the times."""
    return [re.sub(r"^[\d ,:-]+|[\d,.]+ s(amples/s)?\b", "", line) for line in path.read_text().splitlines()]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if "per_second" not in tag
    }


def test_the_text_log_takes_every_logger_of_ours_while_it_lasts(make_trainer: Make, tmp_path: Path) -> None:
    class Says(Callback):
        def on_epoch(self, run: Run, record: Any) -> None:
            logging.getLogger("polysense.data").info("read %d cells", 5)

    root = logging.getLogger("polysense")
    before = (root.level, list(root.handlers))
    make_trainer(epochs=1, validate=validate, callbacks=[TextLog(tmp_path / "train.log"), Says()]).fit()
    assert (root.level, list(root.handlers)) == before
    text = (tmp_path / "train.log").read_text()
    for expected in ("started: 1 epochs of 5 steps", "polysense.data: read 5 cells", "epoch 1/1", "finished after 1"):
        assert expected in text


def test_files_are_closed_after_an_error(make_trainer: Make, tmp_path: Path) -> None:
    def fail(model: ToyModel) -> Any:
        def run() -> dict[str, float]:
            raise ZeroDivisionError

        return run

    log, before = TextLog(tmp_path / "train.log"), list(logging.getLogger("polysense").handlers)
    with pytest.raises(ZeroDivisionError):
        make_trainer(validate=fail, callbacks=[log, JsonlLog(tmp_path / "log.jsonl")]).fit()
    assert logging.getLogger("polysense").handlers == before


def test_what_is_said_after_the_training_is_in_its_log_once(make_trainer: Make, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    with logged_afterwards(path):  # nothing was trained
        logging.getLogger("polysense.workflows").info("too early")
    assert not path.exists()
    make_trainer(epochs=1, validate=validate, callbacks=[TextLog(path)]).fit()
    trained = messages(path)
    level, handlers = logging.getLogger("polysense").level, list(logging.getLogger("polysense").handlers)

    def fail(weight: float, seconds: float) -> None:
        with logged_afterwards(path):
            logging.getLogger("polysense.workflows").info("fitted in %.1f s", seconds)
            logging.getLogger("polysense.workflows").info("a weight of %.1f", weight)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(0.3, 2.5)
    finished = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        fail(0.3, 1.0)  # as a finished run is resumed
    assert path.read_bytes() == finished, "what is said again keeps its times"
    with pytest.raises(ZeroDivisionError):
        fail(0.4, 1.0)
    assert "fitted in 2.5 s" in path.read_text()
    assert messages(path)[: len(trained)] == trained
    assert [line.rpartition(": ")[2] for line in messages(path)[len(trained) :]] == [
        "fitted in ",
        "a weight of 0.4",
    ]
    assert (logging.getLogger("polysense").level, logging.getLogger("polysense").handlers) == (level, handlers)


def test_tensorboard_gets_the_curves(make_trainer: Make, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make_trainer(validate=validate, callbacks=[TensorBoard(tmp_path / "tb")]).fit()
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= {"train/loss", "train/lr", "train/loss/label", "train/grad_norm", "validation/label/accuracy"}
    assert [event.step for event in events.Scalars("validation/loss")] == [5, 10, 15]


def test_progress_off_a_terminal_is_a_line_per_epoch(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Screen()
    monkeypatch.setattr(sys, "stderr", stream)
    make_trainer(validate=validate, callbacks=[ProgressBar()]).fit()
    text = stream.text().splitlines()
    assert text[0].startswith("training: 3 epochs of 5 steps")
    assert [line.split()[1] for line in text[1:4]] == ["1/3", "2/3", "3/3"]
    for part in ("loss ", "  score ", "(best)", "left"):
        assert part in text[1]
    assert "samples/s" not in text[1]
    assert all(len(line) <= 80 for line in text)
    assert text[-1].startswith("trained 3 epochs")
    assert "\x1b" not in stream.text()


def test_details_are_shown_where_the_log_is_detailed(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Screen()
    monkeypatch.setattr(sys, "stderr", stream)
    logging.getLogger("polysense").setLevel(logging.DEBUG)
    make_trainer(validate=validate, callbacks=[ProgressBar()]).fit()
    words = " ".join(stream.text().split())
    for part in ("label/accuracy", "samples/s", "validation loss"):
        assert part in words


def test_progress_on_a_terminal_is_a_bar(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("polysense.training.callbacks.progress._REDRAWS_PER_SECOND", 1e6)
    stream = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    slow = lambda batch, epoch: time.sleep(0.002) or batch  # noqa: E731
    make_trainer(validate=validate, augment=slow, callbacks=[ProgressBar()]).fit()
    text = stream.text()
    for part in ("\x1b[", "15/15", "epoch 2/3", "left", "trained 3 epochs"):
        assert part in text


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 61.0, 3723.0)] == ["0:00", "1:01", "1:02:03"]


class Screen(io.TextIOWrapper):
    """A text stream that remembers what was written."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("polysense.training.callbacks.checkpointing.time.monotonic", lambda: self.now)


def run_of(config: TrainingConfig, folder: Path, save: Callable[[str], Path]) -> Run:
    monitor = Monitor("auto", {})
    return Run(config=config, folder=folder, monitor=monitor, steps=[5] * config.epochs, num_parameters=1, save=save)


def test_checkpoints_by_steps_and_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock, saved = Clock(monkeypatch), []

    def save(name: str) -> Path:
        saved.append((name, run.step))
        return tmp_path

    run = run_of(TrainingConfig(), tmp_path, save)
    callback = Checkpointing(every_steps=4, every_minutes=1.0)
    callback.on_start(run)
    for run.step in range(1, 11):
        clock.now += 25
        callback.on_step(run)
    # By steps at 4 and 8; by time 75 s after the start, and 75 s after none of the others had come in between.
    assert saved == [("last", 3), ("last", 4), ("last", 7), ("last", 8)]


def test_fast_epochs_and_a_slow_disk_do_not_mostly_save(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock, saved = Clock(monkeypatch), []

    def save(name: str) -> Path:
        saved.append(run.epoch)
        clock.now += 1.0
        return tmp_path

    run = run_of(TrainingConfig(epochs=60), tmp_path, save)
    callback = Checkpointing()
    callback.on_start(run)
    for run.epoch in range(1, 61):
        clock.now += 1.0
        callback.on_epoch(run, Record(loss=1.0, heads={}, grad_norm=0.0, samples_per_second=1.0))
    assert saved == [1, 21, 41, 60], "the first, every 20 s for a save of 1 s, and the last"


def test_the_defaults_follow_the_config(tmp_path: Path) -> None:
    names = [type(c).__name__ for c in default_callbacks(TrainingConfig(early_stopping=3), tmp_path)]
    assert names == ["EarlyStopping", "JsonlLog", "TextLog", "ProgressBar", "TensorBoard", "Checkpointing"]
    plain = [type(c).__name__ for c in default_callbacks(TrainingConfig(tensorboard=False), tmp_path)]
    assert plain == ["JsonlLog", "TextLog", "ProgressBar", "Checkpointing"]

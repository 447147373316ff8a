"""The loop: resuming is exact, the best weights come back, and odd runs end well."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_toys import ToyLoader, ToyModel, same, validate

from polysense.errors import (
    CheckpointError,
    ConfigError,
    PolysenseError,
    SplitError,
    TrainingError,
    TrainingInterrupted,
)
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.callbacks.early_stopping import EarlyStopping
from polysense.training.checkpoint import load_checkpoint
from polysense.training.config import TrainingConfig
from polysense.training.optimizers import SGDConfig
from polysense.training.run import Run, TrainResult
from polysense.training.schedule import PlateauConfig
from polysense.training.trainer import Trainer

Make = Callable[..., Trainer]
RICH: dict[str, Any] = {"accumulate": 2, "ema": 0.9, "schedule": PlateauConfig(patience=1), "validate_every": 1}


class Killed(BaseException):
    """Stands for a process that dies."""


class At(Callback):
    """Does something after a given step of the run."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def on_step(self, run: Run) -> None:
        if run.global_step == self.step:
            self.action()


def die() -> None:
    raise Killed


def final(folder: Path, checkpoint: str = "last") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything in a checkpoint but the time it took, and the state of the callbacks, which differ here."""
    tensors, state = load_checkpoint(folder / "checkpoints" / f"{checkpoint}.safetensors")
    for name in ("seconds", "training_seconds", "others"):
        state.pop(name)
    for record in (*state["history"], state["meter"]["work"], state["meter"]["epoch_work"]):
        record.pop("seconds")
    return tensors, state


@pytest.mark.parametrize("config", [{}, RICH, {"optimizer": SGDConfig(lr=0.1), "clip_norm": None}])
@pytest.mark.parametrize(("saved", "killed"), [(2, 3), (5, 5), (5, 9), (7, 12)])
def test_resuming_is_exact(make_trainer: Make, tmp_path: Path, config: dict[str, Any], saved: int, killed: int) -> None:
    straight_model, model, resumed_model = ToyModel(), ToyModel(), ToyModel(seed=9)

    def make(folder: str, model: ToyModel, *more: Callback) -> Trainer:
        callbacks = [Checkpointing(every_steps=saved), *more]
        return make_trainer(tmp_path / folder, model=model, validate=validate, callbacks=callbacks, **config)

    straight = make("a", straight_model).fit()
    with pytest.raises(Killed):
        make("b", model, At(killed, die)).fit()
    resumed = make("b", resumed_model).fit(resume=True)

    assert same(straight_model.state_dict(), resumed_model.state_dict())
    (tensors, state), (tensors_resumed, state_resumed) = final(tmp_path / "a"), final(tmp_path / "b")
    assert same(tensors, tensors_resumed)
    assert state == state_resumed
    assert (straight.best_value, straight.best_epoch) == (resumed.best_value, resumed.best_epoch)
    assert straight.steps == resumed.steps == 15


def test_a_resumed_run_serves_only_the_rest(make_trainer: Make, tmp_path: Path) -> None:
    loader = ToyLoader(40, 4)
    with pytest.raises(Killed):
        make_trainer(accumulate=2, callbacks=[Checkpointing(every_steps=3), At(4, die)]).fit()
    make_trainer(accumulate=2, loader=loader, epochs=1).fit(resume=True)
    everything = ToyLoader(40, 4)
    list(everything.epoch(0))
    assert loader.served == everything.served[6:]


def test_the_seed_decides(make_trainer: Make, tmp_path: Path) -> None:
    models = [ToyModel() for _ in range(3)]
    for name, model, seed in zip("abc", models, (1, 1, 2), strict=True):
        torch.manual_seed(ord(name))
        make_trainer(tmp_path / name, model=model, seed=seed, epochs=1).fit()
    assert same(models[0].state_dict(), models[1].state_dict())
    assert not same(models[0].state_dict(), models[2].state_dict())


def test_torchs_generators_and_threads_are_left_as_they_were(make_trainer: Make) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    make_trainer(num_threads=2).fit()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_accumulation_gives_the_same_run(make_trainer: Make, tmp_path: Path) -> None:
    models = [ToyModel(dropout=0.0, norm=False) for _ in range(3)]
    for model, accumulate in zip(models, (1, 2, 4), strict=True):
        make_trainer(
            tmp_path / str(accumulate), model=model, accumulate=accumulate, optimizer=SGDConfig(lr=0.1), num_rows=37
        ).fit()
    for model in models[1:]:
        for ours, theirs in zip(models[0].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_model_gets_its_best_weights(make_trainer: Make, tmp_path: Path) -> None:
    values = iter([0.2, 0.9, 0.3])
    model = ToyModel()
    retained: list[dict[str, Tensor]] = []

    class Keep(Callback):
        def on_epoch(self, run: Run, record: Any) -> None:
            retained.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    result = make_trainer(
        model=model,
        validate=lambda _: lambda: {"label/accuracy": next(values)},
        monitor="label/accuracy",
        callbacks=[Checkpointing(), Keep()],
    ).fit()
    assert (result.best_value, result.best_epoch, result.epochs) == (0.9, 2, 3)
    assert same(model.state_dict(), retained[1])
    assert not model.training
    assert [record["best"] for record in result.history] == [True, True, False]
    last, _ = final(tmp_path / "run")
    assert torch.equal(last["model/label.weight"], retained[2]["label.weight"])


def test_training_learns(make_trainer: Make) -> None:
    result = make_trainer(num_rows=200, epochs=15, validate=validate, log_every=5).fit()
    losses = [record["loss"] for record in result.history]
    assert losses[-1] < 0.8 * losses[0]
    assert result.samples_per_second > 0


def test_early_stopping_stops_and_stays_stopped(make_trainer: Make, tmp_path: Path) -> None:
    values = [0.5, 0.6, 0.4, 0.5, 0.55, 0.9]

    def scripted(epochs_done: int) -> Any:
        rest = iter(values[epochs_done:])
        return lambda _: lambda: {"label/accuracy": next(rest)}

    def make(done: int, patience: int) -> Trainer:
        return make_trainer(
            epochs=6, monitor="label/accuracy", validate=scripted(done), early_stopping=patience,
            callbacks=[EarlyStopping(patience), Checkpointing()],
        )  # fmt: skip

    result = make(0, 2).fit()
    assert (result.epochs, result.best_epoch) == (4, 2)
    assert result.stop_reason == "label/accuracy has not improved for 2 epochs"
    again = make(4, 2).fit(resume=True)
    assert (again.epochs, again.steps, again.best_epoch) == (4, 20, 2)
    patient = make(4, 4).fit(resume=True)
    assert (patient.epochs, patient.best_epoch, patient.stop_reason) == (6, 6, None)


def test_a_finished_run_gives_its_result_again_and_can_be_trained_for_longer(
    make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = ToyModel(), ToyModel(seed=5), ToyModel(seed=6)
    result = make_trainer(model=first, validate=validate).fit()
    with caplog.at_level(logging.WARNING, logger="polysense"):
        again = make_trainer(model=second, validate=validate).fit(resume=True)
    assert "this run is finished: all of its 3 epochs are done" in caplog.text
    assert (again.best_value, again.steps, again.history) == (result.best_value, result.steps, result.history)
    assert same(first.state_dict(), second.state_dict())
    longer = make_trainer(model=third, validate=validate, epochs=5).fit(resume=True)
    assert (longer.epochs, longer.steps) == (5, 25)


def test_what_stands_there_is_not_overwritten(make_trainer: Make) -> None:
    make_trainer().fit()
    with pytest.raises(CheckpointError, match="an earlier run was saved here"):
        make_trainer().fit()


def test_nothing_to_resume(make_trainer: Make) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        make_trainer().fit(resume=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": ToyModel(hidden=8)}, r"body\.0\.weight is of shape 8x6 and was of 16x6"),
        ({"optimizer": SGDConfig()}, "was trained with adamw"),
        ({"batch_size": 4}, r"in the middle of an epoch.*batch_size was 8 and is 4"),
        ({"seed": 1}, r"training\.seed was 0 and is 1"),
        ({"num_rows": 80}, r"steps per epoch was 5 and is 10"),
        ({"ema": 0.9}, r"training\.ema=null"),
    ],
)
def test_a_changed_recipe_is_explained(make_trainer: Make, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(Killed):
        make_trainer(callbacks=[Checkpointing(every_steps=2), At(3, die)]).fit()
    with pytest.raises(CheckpointError, match=message):
        make_trainer(**changed).fit(resume=True)


def test_between_epochs_other_settings_are_allowed(make_trainer: Make, caplog: pytest.LogCaptureFixture) -> None:
    make_trainer(epochs=1).fit()
    with caplog.at_level(logging.WARNING, logger="polysense"):
        result = make_trainer(epochs=3, batch_size=4).fit(resume=True)
    assert "training.batch_size was 8 and is 4" in caplog.text
    assert result.steps == 30


def test_the_best_file_is_no_checkpoint_to_resume_from(make_trainer: Make, tmp_path: Path) -> None:
    make_trainer(validate=validate).fit()
    folder = tmp_path / "run" / "checkpoints"
    (folder / "best.safetensors").replace(folder / "last.safetensors")
    with pytest.raises(CheckpointError, match="weights alone"):
        make_trainer(validate=validate).fit(resume=True)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {"flipped": content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :], "cut": content[:-9]}
    path.unlink() if how == "gone" else path.write_bytes(changed.get(how, b""))


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
@pytest.mark.parametrize("is_finished", [False, True])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(
    make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, is_finished: bool
) -> None:
    straight, resumed = ToyModel(), ToyModel(seed=3)
    make_trainer(tmp_path / "a", model=straight, validate=validate, **RICH).fit()
    run = tmp_path / "b"
    callbacks = [Checkpointing(every_steps=2), *([] if is_finished else [At(7, die)])]
    with nullcontext() if is_finished else pytest.raises(Killed):
        make_trainer(run, validate=validate, callbacks=callbacks, **RICH).fit()
    damage(run / "checkpoints" / "last.safetensors", how)
    with caplog.at_level(logging.WARNING, logger="polysense"):
        make_trainer(run, model=resumed, validate=validate, **RICH).fit(resume=True)
    moment = "after epoch 3" if is_finished else "in epoch 1 after step 4"
    assert (
        f"resuming from the checkpoint before it, {run}/checkpoints/previous.safetensors, saved {moment}" in caplog.text
    )
    assert same(straight.state_dict(), resumed.state_dict())
    expected = final(tmp_path / "a")
    for name in ("last", "previous"):
        tensors, state = final(run, name)
        assert same(tensors, expected[0])
        assert state == expected[1]


def test_where_all_checkpoints_are_damaged_both_are_named(make_trainer: Make, tmp_path: Path) -> None:
    make_trainer(validate=validate).fit()
    folder = tmp_path / "run" / "checkpoints"
    intact = (folder / "best.safetensors").read_bytes()
    damage(folder / "best.safetensors", "flipped")
    with pytest.raises(CheckpointError, match=r"best\.safetensors: the best weights so far, of epoch \d, are damaged"):
        make_trainer(validate=validate).fit(resume=True)
    (folder / "best.safetensors").write_bytes(intact)
    for name in ("last", "previous"):
        damage(folder / f"{name}.safetensors", "flipped")
    with pytest.raises(CheckpointError, match=r"last\.safetensors: .*damaged.*and so is .*previous\.safetensors"):
        make_trainer(validate=validate).fit(resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 7, 10])
def test_a_signal_saves_and_the_run_can_go_on(make_trainer: Make, tmp_path: Path, step: int, number: int) -> None:
    straight, stopped, resumed = ToyModel(), ToyModel(), ToyModel(seed=3)
    make_trainer(tmp_path / "a", model=straight, validate=validate, **RICH).fit()
    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted, match=rf"step {(step - 1) % 5 + 1} of 5; the state is saved in .*--resume"):
        make_trainer(
            tmp_path / "b",
            model=stopped,
            validate=validate,
            callbacks=[Checkpointing(), At(step, lambda: os.kill(os.getpid(), number))],
            **RICH,
        ).fit()
    assert signal.getsignal(number) is before
    make_trainer(tmp_path / "b", model=resumed, validate=validate, **RICH).fit(resume=True)
    assert same(straight.state_dict(), resumed.state_dict())
    assert final(tmp_path / "a")[1] == final(tmp_path / "b")[1]


def test_ctrl_c_during_validation_stops_at_once_and_repeats_it(make_trainer: Make, tmp_path: Path) -> None:
    straight, stopped, resumed = ToyModel(), ToyModel(), ToyModel(seed=3)
    make_trainer(tmp_path / "a", model=straight, validate=validate, **RICH).fit()
    calls = 0

    def interrupted(model: ToyModel) -> Any:
        def run() -> dict[str, float]:
            nonlocal calls
            calls += 1
            if calls == 2:
                os.kill(os.getpid(), signal.SIGINT)
                raise AssertionError("not reached")
            return validate(model)()

        return run

    with pytest.raises(TrainingInterrupted, match="in epoch 2 after step 5 of 5"):
        make_trainer(tmp_path / "b", model=stopped, validate=interrupted, **RICH).fit()
    make_trainer(tmp_path / "b", model=resumed, validate=validate, **RICH).fit(resume=True)
    assert same(straight.state_dict(), resumed.state_dict())


def test_a_second_ctrl_c_stops_at_once(make_trainer: Make) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_trainer(callbacks=[Checkpointing(), At(2, twice)]).fit()


@pytest.mark.parametrize("error", [RuntimeError, PolysenseError])
def test_a_loader_worker_that_died_of_ctrl_c_is_no_error(make_trainer: Make, error: type[Exception]) -> None:
    class Dying(ToyLoader):
        def epoch(self, epoch: int, start_step: int = 0) -> Any:
            yield from list(super().epoch(epoch, start_step))[:2]
            if interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            raise error("a worker exited unexpectedly")

    interrupt = True
    with pytest.raises(TrainingInterrupted, match="after step 2 of 5"):
        make_trainer(loader=Dying(40, 8)).fit()
    interrupt = False
    with pytest.raises(error, match="unexpectedly"):
        make_trainer(loader=Dying(40, 8)).fit(resume=True)


def test_it_trains_in_another_thread(make_trainer: Make) -> None:
    results: list[TrainResult] = []
    thread = threading.Thread(target=lambda: results.append(make_trainer().fit()))
    thread.start()
    thread.join()
    assert results[0].steps == 15


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(make_trainer: Make, tmp_path: Path) -> None:
    model = ToyModel()

    def poison() -> None:
        with torch.no_grad():
            model.label.weight.fill_(torch.nan)

    with pytest.raises(TrainingError, match="in epoch 2, step 3"):
        make_trainer(model=model, callbacks=[Checkpointing(every_steps=6), At(7, poison)]).fit()
    tensors, state = final(tmp_path / "run")
    assert (state["epoch"], state["step"]) == (1, 1)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.parametrize("num_rows", [1, 3, 9])
def test_few_rows_are_enough(make_trainer: Make, num_rows: int) -> None:
    result = make_trainer(num_rows=num_rows, validate=validate, accumulate=2).fit()
    assert result.steps == 3 * (1 if num_rows < 9 else 2)


def test_no_rows_are_refused(make_trainer: Make) -> None:
    with pytest.raises(SplitError, match="holds no rows"):
        make_trainer(num_rows=0).fit()


def test_no_epochs_train_nothing(make_trainer: Make) -> None:
    model = ToyModel()
    result = make_trainer(model=model, epochs=0, validate=validate).fit()
    assert (result.steps, result.best_value, result.history) == (0, None, [])
    assert same(model.state_dict(), ToyModel().state_dict())


def test_without_validation_the_last_weights_are_kept(make_trainer: Make, tmp_path: Path) -> None:
    model = ToyModel()
    result = make_trainer(model=model, callbacks=[EarlyStopping(1), Checkpointing()]).fit()
    assert result.best_epoch is None
    assert result.epochs == 3
    assert torch.equal(final(tmp_path / "run")[0]["model/label.weight"], model.label.weight)


def test_the_averaged_weights_are_kept_without_validation(make_trainer: Make, tmp_path: Path) -> None:
    model = ToyModel()
    make_trainer(model=model, ema=0.9).fit()
    last, _ = final(tmp_path / "run")
    assert torch.equal(model.label.weight, last["ema/label.weight"])
    assert not torch.equal(model.label.weight, last["model/label.weight"])
    assert model.seen == 15


def test_validation_happens_every_few_epochs_and_at_the_end(make_trainer: Make) -> None:
    result = make_trainer(epochs=5, validate_every=2, validate=validate).fit()
    assert [record["validation"] is not None for record in result.history] == [False, True, False, True, True]


def test_the_reported_loss_is_that_of_all_rows(make_trainer: Make) -> None:
    model = ToyModel(dropout=0.0)
    result = make_trainer(model=model, epochs=1, num_rows=36, optimizer=SGDConfig(lr=1e-12)).fit()
    totals = {"label": [0.0, 0.0], "age": [0.0, 0.0]}
    for batch in ToyLoader(36, 36).epoch(0):
        for head, loss in ToyModel(dropout=0.0)(batch).losses.items():
            totals[head][0] += loss.total.sum().item()
            totals[head][1] += loss.count.sum().item()
    means = {head: total / count for head, (total, count) in totals.items()}
    assert result.history[0]["heads"] == pytest.approx(means, rel=1e-5)
    assert result.history[0]["loss"] == pytest.approx(means["label"] + 0.5 * means["age"], rel=1e-5)


def test_a_wrong_monitor_is_named_after_the_first_epoch(make_trainer: Make) -> None:
    with pytest.raises(ConfigError, match="choose from: age/r2"):
        make_trainer(validate=validate, monitor="label/acc").fit()


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="torch sees 0"):
        Trainer(TrainingConfig(device="cuda"), ToyModel(), ToyLoader(8, 8), folder=Path("unused"))


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import torch
torch.set_num_threads(1)
from training_toys import METRICS, ToyLoader, ToyModel, validate
from polysense.training.callbacks.base import Callback
from polysense.training.trainer import Trainer, default_callbacks
from polysense.training.config import TrainingConfig

class Kill(Callback):
    def on_step(self, run):
        if run.global_step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

folder, model = Path({folder!r}), ToyModel()
config = TrainingConfig(epochs=3, batch_size=8, accumulate=2, device="cpu", checkpoint_every_steps=3, ema=0.9)
callbacks = [*default_callbacks(config, folder), *([] if {resume} else [Kill()])]
trainer = Trainer(
    config, model, ToyLoader(40, 4), folder=folder, validate=validate(model), metrics=METRICS, callbacks=callbacks
)
trainer.fit(resume={resume})
# torch._dynamo comes with every torch.optim.Optimizer, 150 MiB and 2 s: accepted. What else costs as much is not.
heavy = {{"torchvision", "transformers", "timm", "torchmetrics", "sklearn", "scipy", "pandas"}} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_killed_process_is_resumed_bit_for_bit(make_trainer: Make, tmp_path: Path) -> None:
    def run(resume: bool) -> int:
        helpers = str(Path(__file__).parent / "helpers")
        script = SCRIPT.format(helpers=helpers, folder=str(tmp_path / "killed"), resume=resume)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    make_trainer(tmp_path / "straight", accumulate=2, ema=0.9, log_every=10, validate=validate).fit()
    assert run(resume=False) == -signal.SIGKILL
    assert run(resume=True) == 0
    (tensors, state), (tensors_resumed, state_resumed) = final(tmp_path / "straight"), final(tmp_path / "killed")
    assert same(tensors, tensors_resumed)
    assert state == state_resumed
    lines = [json.loads(line) for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert [event for event in events if event in ("start", "resume", "end")] == ["start", "end"]

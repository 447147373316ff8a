"""A run with a time: what fits is planned, said and kept; a resumed run is the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_toys import ToyModel, same, validate

from polysense.errors import ConfigError
from polysense.training import time_plan, trainer
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.checkpoint import load_checkpoint
from polysense.training.config import TrainingConfig
from polysense.training.run import Run
from polysense.training.schedule import CosineConfig
from polysense.training.time_plan import Deadline, Pace, TimeLimit, measured_slowness, rows_that_fit, steps_that_fit
from polysense.training.trainer import Trainer

Make = Callable[..., Trainer]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_says_what_it_leaves_out() -> None:
    clock = Clock()
    deadline = Deadline(60.0, clock)
    assert deadline.allows(50.0, "the test rows")
    clock.now += 20
    assert deadline.left == 40
    assert not deadline.allows(50.0, "the test rows again")
    assert deadline.left_out == ["the test rows again (about 50 s, 40 s were left)"]
    half = deadline.part(0.5)
    assert (half.left, half.seconds) == (20, 20)
    assert not half.allows(30.0, "a baseline")
    assert len(deadline.left_out) == 2
    clock.now += 100
    assert deadline.left == 0


def test_an_earlier_deadline_keeps_time_for_what_must_be_written() -> None:
    clock = Clock()
    deadline = Deadline(60.0, clock, slowness=2.0)
    earlier = deadline.reserving(10.0)
    clock.now += 45
    assert (deadline.left, earlier.left, earlier.slowness) == (15, 5, 2.0)
    assert not earlier.allows(6.0, "an audit")
    assert deadline.left_out == ["an audit (about 6.0 s, 5.0 s were left)"]
    assert deadline.reserving(100.0).left == 0


def test_what_is_owed_is_not_there_for_anything_else() -> None:
    clock = Clock()
    deadline = Deadline(60.0, clock, slowness=2.0)
    deadline.owe_work("scores", 5.0)
    deadline.owe("bundle", 3.0)
    part = deadline.part(0.5)
    assert (deadline.left, part.left) == (47, 23.5)
    clock.now += 20
    assert part.left == 3.5
    part.owe("scores", 35.0)  # measured: more than was thought
    assert (deadline.left, part.left) == (2, 2)
    audit = Deadline(10.0, clock).within(deadline)
    assert audit.left == 2
    deadline.owe("scores", 0.0)
    assert (deadline.left, part.left, audit.left) == (37, 3.5, 2)
    clock.now += 45
    assert (deadline.left, deadline.exceeded, part.left) == (0, 5, 0)


def test_slowness_is_looked_at_again_from_time_to_time() -> None:
    clock, measured = Clock(), iter([4.0, 9.0])
    deadline = Deadline(100.0, clock, slowness=1.0, measure=lambda: next(measured))
    deadline.owe_work("report", 2.0)
    part = deadline.part(0.5)
    clock.now += 7
    assert (deadline.slowness, deadline.left) == (1.0, 91)
    clock.now += 3
    assert (part.slowness, deadline.slowness, deadline.left) == (4.0, 4.0, 82)
    assert not part.allows_work(11.0, "work")
    clock.now += 8
    assert deadline.left == 100 - 18 - 18


@given(
    per_row=st.floats(1e-6, 10), rows=st.integers(1, 100_000), others=st.integers(0, 10_000), views=st.integers(0, 8),
    seconds=st.floats(0, 10_000),
)  # fmt: skip
def test_features_of_as_many_rows_as_half_of_the_time_has_room_for(
    per_row: float, rows: int, others: int, views: int, seconds: float
) -> None:
    deadline = Deadline(seconds, lambda: 0.0)
    number = rows_that_fit(deadline, per_row, rows, others, views=views)
    assert min(rows, 32) <= number <= rows
    if number > 32:
        assert (number * (1 + views) + others) * per_row <= 0.5 * seconds + 1e-6
    if number < rows:
        assert deadline.left_out[0].startswith(f"features of {rows - number:,} of {rows:,} training rows")
        # One more would not fit, but for the fewest that there are.
        assert ((number + 1) * (1 + views) + others) * per_row > 0.5 * seconds - 1e-6 or number == 32
    else:
        assert not deadline.left_out


def test_guesses_are_for_an_idle_core() -> None:
    deadline = Deadline(60.0, Clock(), slowness=3.0)
    assert deadline.allows(50.0, "what was measured")
    assert not deadline.allows_work(25.0, "what is guessed")
    assert deadline.left_out == ["what is guessed (about 1 min 15 s, 1 min were left)"]
    assert deadline.part(0.5).allows_work(9.0, "less")
    assert not deadline.part(0.5).allows_work(11.0, "more")


def test_slowness_is_measured_by_the_clock() -> None:
    times = iter([0.0, 1.0, 5.0, 5.0 + 1e-9])
    assert measured_slowness(lambda: next(times)) == pytest.approx(10.0)
    assert measured_slowness(lambda: next(times)) == 1.0


def test_time_is_kept_for_what_follows() -> None:
    clock = Clock()
    limit = TimeLimit(deadline=Deadline(100.0, clock), rows_afterwards=1000, fixed_seconds=5.0, validation_rows=100)
    assert limit.for_training(0.01) == pytest.approx(100 - 10 - 5 - 3)
    clock.now += 83
    assert limit.is_left(100, 0.01)
    clock.now += 2
    assert not limit.is_left(100, 0.01)


@pytest.mark.parametrize(
    ("done", "seconds", "expected"),
    [
        (0, 1000, (10, 10, 10, 10, 10)),
        (0, 36, (10, 10, 10)),  # 12 s each
        (0, 35, (10, 10, 9)),
        (0, 25, (10, 10)),
        (0, 8, (6,)),
        (0, 0, (1,)),  # a model of one step is one
        (4, 8 + 24, (10, 10, 10)),  # four steps are done, and are not paid for again
        (4, 0, (4,)),
        (10, 0, (10,)),
        (25, 31, (10, 10, 10, 10, 10)),
        (25, 10, (10, 10, 10)),
    ],
)  # fmt: skip
def test_steps_that_fit(done: int, seconds: float, expected: Sequence[int]) -> None:
    assert steps_that_fit([10] * 5, done, float(seconds), per_step=1.0, per_epoch=2.0) == tuple(expected)


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=8), st.floats(0.0, 500.0), st.floats(0.01, 5), st.floats(0, 10),
    st.data(),
)  # fmt: skip
def test_what_fits_is_a_beginning_of_the_run(
    steps: list[int], seconds: float, per_step: float, per_epoch: float, data: st.DataObject
) -> None:
    done = data.draw(st.integers(0, sum(steps)))
    planned = steps_that_fit(steps, done, seconds, per_step=per_step, per_epoch=per_epoch)
    assert 0 < len(planned) <= len(steps)
    assert all(kept == number for kept, number in zip(planned[:-1], steps, strict=False))
    assert 0 < planned[-1] <= steps[len(planned) - 1]
    assert sum(planned) >= done
    more = steps_that_fit(steps, done, seconds + 50, per_step=per_step, per_epoch=per_epoch)
    assert sum(more) >= sum(planned)


def test_the_first_step_is_no_measure() -> None:
    clock = Clock()
    pace = Pace(clock)
    for seconds in (9.0, 1.0, 1.0, 1.0):
        clock.now += seconds
        pace.step(8)
    assert (pace.first_step, pace.seconds_per_step) == (9.0, 1.0)
    assert pace.seconds_per_predicted_row(32) == pytest.approx(0.5 / 8)
    clock.now += 16
    pace.validated(16.0)
    assert pace.seconds_per_predicted_row(32) == 0.5
    assert pace.elapsed == 28
    assert pace.is_measured(epochs=0, available=560.0)
    assert not pace.is_measured(epochs=0, available=660.0)
    assert pace.is_measured(epochs=1, available=560.0)
    assert not pace.is_measured(epochs=2, available=1e6)
    assert pace.is_measured(epochs=3, available=1e6)
    assert pace.is_measured(epochs=1, available=None)


def test_the_first_validation_is_no_measure_of_the_others() -> None:
    pace = Pace(Clock())
    for seconds in (16.0, 1.0, 3.0):
        pace.validated(seconds)
    assert pace.seconds_per_predicted_row(1) == 3.0
    pace.validated(1.0)
    assert pace.seconds_per_predicted_row(1) == pytest.approx(5 / 3)


def test_a_schedule_is_laid_over_what_is_planned() -> None:
    planned, short = CosineConfig().build(1000), CosineConfig().build(100)
    planned.plan(100)
    assert [planned.factor(step) for step in range(100)] == [short.factor(step) for step in range(100)]


class Said(Callback):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_plan(self, run: Run, text: str) -> None:
        self.texts.append(text)


def planned(monkeypatch: pytest.MonkeyPatch, steps: Sequence[int]) -> None:
    """The machine's pace is what gives these steps."""
    monkeypatch.setattr(trainer, "steps_that_fit", lambda *arguments, **options: tuple(steps))


def test_a_run_has_the_epochs_that_fit(make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, [5, 5, 5, 5, 3])
    said, model = Said(), ToyModel()
    result = make_trainer(model=model, validate=validate, epochs=20, time="1h", callbacks=[said, Checkpointing()]).fit()
    assert (result.epochs, result.steps, result.stop_reason) == (5, 23, None)
    assert result.history[-1]["validation"] is not None, "the last epoch is validated"
    assert result.history[-1]["lr"] < 5e-5, "the schedule ends where the run does"
    (text,) = said.texts
    assert text.startswith("4.6 of 20 epochs fit into 1 h: about ")
    _, state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert state["plan"] == {"time": 3600.0, "epochs": 20, "steps": [5, 5, 5, 5, 3]}


class Killed(BaseException):
    pass


class At(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: Run) -> None:
        if run.global_step == self.step:
            raise Killed


@pytest.mark.parametrize("killed", [17, 20, 22])
def test_a_resumed_run_keeps_its_plan(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    planned(monkeypatch, [5, 5, 5, 5, 3])
    straight, resumed = ToyModel(), ToyModel(seed=9)
    config: dict[str, Any] = {"validate": validate, "epochs": 20, "time": "1h"}
    make_trainer(tmp_path / "a", model=straight, callbacks=[Checkpointing()], **config).fit()
    with pytest.raises(Killed):
        make_trainer(tmp_path / "b", callbacks=[Checkpointing(every_steps=2), At(killed)], **config).fit()
    planned(monkeypatch, [5] * 9)  # the machine is faster now, which changes nothing
    said = Said()
    make_trainer(tmp_path / "b", model=resumed, callbacks=[said, Checkpointing()], **config).fit(resume=True)
    assert same(straight.state_dict(), resumed.state_dict())
    assert said.texts == []


def test_more_time_plans_anew(make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, [5] * 4)
    assert make_trainer(validate=validate, epochs=20, time="1h").fit().epochs == 4
    planned(monkeypatch, [5] * 6)
    result = make_trainer(validate=validate, epochs=20, time="2h").fit(resume=True)
    assert result.epochs == 6


def test_a_run_without_a_limit_says_how_long_it_takes(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()
    make_trainer(validate=validate, callbacks=[said], epochs=2).fit()
    assert said.texts == [], "it is over at once"
    monkeypatch.setattr(time_plan, "_LEAST_TOLD", 0.0)
    result = make_trainer(validate=validate, callbacks=[said], epochs=4).fit()
    assert result.epochs == 4
    (text,) = said.texts
    assert text.startswith("training takes about ")
    assert text.endswith("for each of 4 epochs")


def test_training_ends_when_the_time_is_up_although_it_was_planned_longer(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    limit = TimeLimit(deadline=Deadline(50.0, clock), validation_rows=32)

    class Slow(Callback):
        def on_step(self, run: Run) -> None:
            clock.now += 100 if run.global_step == 12 else 0

    made = make_trainer(validate=validate, epochs=20, callbacks=[Slow(), Checkpointing()])
    made._limit = limit
    result = made.fit()
    assert (result.epochs, result.steps) == (3, 13)
    assert limit.deadline.left_out == ["17.4 of 20 epochs of training"] or limit.deadline.left_out == [
        "17 of 20 epochs of training"
    ]


def test_a_plan_is_shortened_after_an_epoch_that_was_slower(make_trainer: Make) -> None:
    """So the learning rate ends where the run does, and the time is kept."""
    clock, said = Clock(), Said()
    deadline = Deadline(100.0, clock)

    def slow(batch: Any, epoch: int) -> Any:
        clock.now += 0.5 if epoch < 2 else 4.0
        return batch

    made = make_trainer(validate=validate, epochs=20, callbacks=[said, Checkpointing()], augment=slow)
    made._limit = TimeLimit(deadline=deadline, validation_rows=32)
    result = made.fit()
    assert len(said.texts) == 2
    assert said.texts[0].startswith("all 20 epochs fit into 1 min 40 s")
    assert said.texts[1].startswith("slower than it was: ")
    assert 3 < result.epochs < 8
    assert result.history[-1]["lr"] < 0.1 * result.history[2]["lr"], "the schedule ends where the run does"
    assert deadline.left > 0
    (what,) = deadline.left_out
    assert what.endswith("of 20 epochs of training")


def test_no_step_is_begun_that_there_is_no_time_for(make_trainer: Make) -> None:
    clock = Clock()

    def slow(batch: Any, epoch: int) -> Any:
        clock.now += 12.0
        return batch

    limit = TimeLimit(deadline=Deadline(100.0, clock), validation_rows=32)
    made = make_trainer(validate=validate, epochs=20, callbacks=[Checkpointing()], augment=slow)
    made._limit = limit
    result = made.fit()
    assert result.steps == 8
    assert limit.deadline.exceeded == 0


@pytest.mark.parametrize("time", ["soon", "-1s", "0"])
def test_a_time_that_is_none(time: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration"):
        TrainingConfig(time=time)

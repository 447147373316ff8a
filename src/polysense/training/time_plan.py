"""Time: how long a run will take, and how many epochs fit into the time that it is given.

A schedule that is cut off in the middle is worse than a shorter one that ends. So the number of epochs is decided
early: after a twentieth of the time, or after the first epoch with its validation where that is sooner, which is within
or soon after the learning rate's warm-up. Then the schedule is laid over what fits. The measured pace is a fact of the
machine, but what follows from it is no chance: the planned steps are part of the checkpoint, and a run that is resumed
keeps them.

A machine that becomes slower afterwards makes the plan too long. So it is compared with the clock after every epoch,
and shortened where it does not fit any more: the schedule ends earlier. Within an epoch, training ends with the step
that the time is up in, is validated once more, and the best weights so far are the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from polysense.core.duration import spell_duration
from polysense.training.run import Run

__all__ = [
    "Deadline",
    "Pace",
    "TimeLimit",
    "described",
    "estimate",
    "held_out_that_fit",
    "measured_slowness",
    "note_rows",
    "rows_that_fit",
    "seconds_left",
    "steps_that_fit",
]

_SHARE_OF_MEASURING = 0.05
_SHARE_OF_FEATURES, _FEWEST_ROWS = 0.5, 32
_SHARE_OF_LOOKING = 0.08  # of the time, after which slowness is measured again
_FEWEST_STEPS, _FEWEST_EPOCHS = 3, 3
_FEWEST_PART = 0.1  # of an epoch, that is worth being trained on
_LEAST_TOLD = 2.0  # seconds of a run without a limit
_MARGIN = 0.03  # of all the time
_ROUNDS, _SECONDS_OF_ROUND = 40, 2.5e-3  # of `measured_slowness`, measured on an idle core
_SECONDS_OF_ESTIMATE = 2.0  # measured, before a run without a limit says how long it will take


@dataclass
class _Ledger:
    """What a deadline and its parts know in common: what was left out, what is still owed, how slow the machine is."""

    slowness: float
    measure: Callable[[], float] | None
    measured_at: float
    every: float
    noted: dict[str, str] = field(default_factory=dict)
    owed: dict[str, float] = field(default_factory=dict)
    owed_work: dict[str, float] = field(default_factory=dict)

    def seconds_owed(self, now: Callable[[], float]) -> float:
        work = sum(self.owed_work.values())
        return sum(self.owed.values()) + (work * self.slowness_now(now) if work else 0.0)

    def slowness_now(self, now: Callable[[], float]) -> float:
        """Measured again where the last time is a while ago: others come and go."""
        if self.measure is not None and now() - self.measured_at >= self.every:
            self.slowness = self.measure()
            self.measured_at = now()
        return self.slowness


class Deadline:
    """When a run must be over, what it owes until then, and what was left out for it.

    What is done in any case, such as the scores and the bundle, is owed: its seconds are not there for anything else,
    and what is owed is put right as soon as more is known of it. So whoever asks for the time that is left gets what
    he may spend.

    Args:
        seconds: That are given.
        now: The clock.
        since: When they began, by that clock; None: now.
        slowness: How many times as long as an idle core this machine takes, see `measured_slowness`.
        measure: Measures that again from time to time; None: it stays.

    Attributes:
        seconds: The time that was given in all.
    """

    def __init__(
        self,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
        *,
        since: float | None = None,
        slowness: float = 1.0,
        measure: Callable[[], float] | None = None,
    ) -> None:
        self.seconds = seconds
        self.now = now
        self._ledger = _Ledger(slowness, measure, now(), _SHARE_OF_LOOKING * seconds)
        self._end = (now() if since is None else since) + seconds
        self._outer: Deadline | None = None

    @property
    def slowness(self) -> float:
        """How many times as long as an idle core this machine takes now."""
        return self._ledger.slowness_now(self.now)

    @property
    def left_out(self) -> list[str]:
        """What did not fit, in words."""
        return list(self._ledger.noted.values())

    def note(self, key: str, text: str) -> None:
        """Notes something as left out, in place of what was noted under the same key; "" for nothing."""
        self._ledger.noted.pop(key, None)
        if text:
            self._ledger.noted[key] = text

    @property
    def left(self) -> float:
        """Seconds that are left beside what is owed, 0 at least."""
        own = self._end - self.now()
        if self._outer is not None:
            return max(0.0, min(own, self._outer.left))
        return max(0.0, own - self._ledger.seconds_owed(self.now))

    @property
    def exceeded(self) -> float:
        """Seconds since the end; 0 before."""
        return max(0.0, self.now() - self._end)

    def owe(self, key: str, seconds: float) -> None:
        """Keeps seconds for what is done in any case, in place of what was kept under the same key; 0: it is done."""
        self._ledger.owed_work.pop(key, None)
        self._ledger.owed[key] = seconds

    def owe_work(self, key: str, seconds: float) -> None:
        """As `owe`, of seconds that an idle core is guessed to take, while nothing is measured of it."""
        self._ledger.owed.pop(key, None)
        self._ledger.owed_work[key] = seconds

    def allows(self, seconds: float, what: str) -> bool:
        """Whether something fits that is expected to take so long; else it is noted as left out."""
        left = self.left
        if seconds <= left:
            return True
        self.note(what, f"{what} (about {spell_duration(seconds)}, {spell_duration(left)} were left)")
        return False

    def allows_work(self, seconds: float, what: str) -> bool:
        """As `allows`, of seconds that an idle core is guessed to take."""
        return self.allows(seconds * self.slowness, what)

    def within(self, other: Deadline) -> Deadline:
        """This deadline, or an earlier one where another is over before; what is left out is listed here."""
        return self._earlier(min(self.left, other.left), other)

    def reserving(self, seconds: float) -> Deadline:
        """An earlier deadline, after which so many seconds are left of this one, with the same list."""
        return self._earlier(max(0.0, self.left - seconds), self)

    def part(self, share: float) -> Deadline:
        """A deadline after a share of what is left, with the same list of what was left out."""
        return self._earlier(share * self.left, self)

    def _earlier(self, seconds: float, outer: Deadline) -> Deadline:
        """A deadline within this one's list and another's time, also where more is owed of that later."""
        earlier = Deadline(seconds, self.now)
        earlier._ledger, earlier._outer = self._ledger, outer
        return earlier


def rows_that_fit(deadline: Deadline, seconds_per_row: float, rows: int, others: int, *, views: int = 0) -> int:
    """Training rows whose features of frozen networks fit into half of what is left of a run's time.

    Args:
        deadline: When the run must be over; rows that are left out are noted there.
        seconds_per_row: Measured.
        rows: Training rows.
        others: Held-out rows, which need features too.
        views: Augmented versions of each training row, which have some of their own.
    """
    affordable = int(_SHARE_OF_FEATURES * deadline.left / max(seconds_per_row, 1e-9)) - others
    number = min(rows, max(_FEWEST_ROWS, affordable // (1 + views)))
    note_rows(deadline, number, rows)
    return number


def note_rows(deadline: Deadline, number: int, rows: int) -> None:
    """Notes the training rows for whose features there is no time, in place of what was noted before."""
    missing = f"features of {rows - number:,} of {rows:,} training rows, which are not trained on"
    deadline.note("features", missing if number < rows else "")


def held_out_that_fit(deadline: Deadline, seconds_per_row: float, rows: int) -> int:
    """Held-out rows whose features of frozen networks fit into a quarter of what is left; some have them anyway."""
    return min(rows, max(_FEWEST_ROWS, int(0.5 * _SHARE_OF_FEATURES * deadline.left / max(seconds_per_row, 1e-9))))


def measured_slowness(now: Callable[[], float] = time.monotonic, *, rounds: int = _ROUNDS) -> float:
    """How many times as long as an idle core, for which seconds are guessed, this machine takes now; 1 at least.

    It takes what simple models are fitted with: matrix products, sorting, and Python itself.

    Args:
        now: The clock.
        rounds: How often; forty take a tenth of a second of an idle core.
    """
    generator = np.random.default_rng(0)
    matrix, values = generator.random((200, 200)), generator.random(50_000)
    _ = matrix @ matrix  # the first one loads the library
    start = now()
    for _ in range(rounds):
        np.sort(values)
        sum(range(20_000))
        matrix @ matrix
    return max(1.0, (now() - start) / (rounds * _SECONDS_OF_ROUND))


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """The time that a training is given.

    Attributes:
        deadline: When everything must be over.
        name: What is trained, for what is left out.
        rows_afterwards: Rows that are predicted after training: evaluation, weights of experts, contributions.
        fixed_seconds: What else is done afterwards, beside what the deadline owes.
        fixed_work: Likewise in seconds that an idle core is guessed to take,
        most_work: of which so much is kept at most, as a share of all the time.
        validation_rows: Rows of each validation.
    """

    deadline: Deadline
    name: str = "training"
    rows_afterwards: int = 0
    fixed_seconds: float = 0.0
    fixed_work: float = 0.0
    most_work: float = 1.0
    validation_rows: int = 0

    def for_training(self, seconds_per_row: float) -> float:
        """Seconds that are left for training, where a predicted row takes so long."""
        return self._left(self.rows_afterwards, seconds_per_row) - _MARGIN * self.deadline.seconds

    def is_left(self, validation_rows: int, seconds_per_row: float, seconds_per_step: float = 0.0) -> bool:
        """Whether there is time for another step, a validation and what follows training."""
        return self._left(self.rows_afterwards + validation_rows, seconds_per_row) > seconds_per_step

    def _left(self, rows: int, seconds_per_row: float) -> float:
        deadline = self.deadline
        work = min(self.fixed_work * deadline.slowness, self.most_work * deadline.seconds) if self.fixed_work else 0.0
        return deadline.left - rows * seconds_per_row - self.fixed_seconds - work

    def note(self, steps: Sequence[int], all_steps: Sequence[int]) -> None:
        """Notes the epochs that are left out, in place of what was noted before."""
        missing = f"{_missing(steps, all_steps)} epochs of {self.name}" if sum(steps) < sum(all_steps) else ""
        self.deadline.note(self.name, missing)


class Pace:
    """What has been measured of this process's steps and validations.

    Args:
        now: The clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.steps = self.rows = self.validations = 0
        self.first_step = self.validation_seconds = self.since_first = 0.0
        self._first_validation = self._last_validation = 0.0
        self._started = now()
        self._marked = 0, 0.0

    def step(self, rows: int) -> None:
        """Counts a step; the first one warms up, and is left out of the pace."""
        now = self.now()
        self.steps += 1
        if self.steps == 1:
            self.first_step, self._started = now - self._started, now
        else:
            self.rows += rows
            self.since_first = now - self._started - self.validation_seconds

    def validated(self, seconds: float) -> None:
        """Counts a validation."""
        self.validation_seconds += seconds
        self._last_validation = seconds
        if not self.validations:
            self._first_validation = seconds
        self.validations += 1

    def mark(self) -> None:
        """From here on the pace of the last steps is measured."""
        self._marked = self.steps, self.since_first

    @property
    def elapsed(self) -> float:
        """Seconds of steps and validations."""
        return self.first_step + self.now() - self._started

    @property
    def seconds_per_step(self) -> float:
        """Of training alone; of the first step where there is only that."""
        return self.since_first / (self.steps - 1) if self.steps > 1 else self.first_step

    @property
    def recent_seconds_per_step(self) -> float:
        """Of the steps since the mark where these were slower than all of them, for others may have come."""
        steps, seconds = self._marked
        recent = (self.since_first - seconds) / (self.steps - steps) if self.steps > max(steps, 1) else 0.0
        return max(recent, self.seconds_per_step)

    def seconds_per_predicted_row(self, validation_rows: int) -> float:
        """Measured, of the last validation if that was slower than they are on average, without the first one, which
        warms up; before any from the steps: going forward alone takes a third, and half is on the safe side."""
        if self.validations and validation_rows:
            others = (self.validation_seconds - self._first_validation) / max(1, self.validations - 1)
            return max(others, self._last_validation) / validation_rows
        return 0.5 * self.since_first / self.rows if self.rows else 0.0

    def is_measured(self, *, epochs: int, available: float | None) -> bool:
        """Whether enough is known: some epochs, or one or some steps that took long enough.

        The first epoch of a small table is mostly what is done once, and a plan is never made longer: after it alone a
        minute had room for 38 epochs of which many more fit.
        """
        if epochs >= (1 if available is None else _FEWEST_EPOCHS):
            return True
        least = _SECONDS_OF_ESTIMATE if available is None else _SHARE_OF_MEASURING * available
        return (epochs > 0 or self.steps > _FEWEST_STEPS) and self.elapsed >= least


def steps_that_fit(
    steps: Sequence[int], done: int, seconds: float, *, per_step: float, per_epoch: float
) -> tuple[int, ...]:
    """The steps of each epoch that fit into a time, of those that were to be made.

    Whole epochs, and where these are few the part of one more that is worth it: a table whose epoch takes longer than
    the time is trained on for a part of one.

    Args:
        steps: Of each epoch.
        done: Steps that are done, over all epochs.
        seconds: That are left for the others.
        per_step: Seconds of a step.
        per_epoch: Seconds of what each epoch has beside its steps.
    """
    left, kept, passed = seconds, list[int](), 0
    for number in steps:
        begun = max(0, min(number, done - passed))
        passed += number
        cost = (number - begun) * per_step + per_epoch
        if begun == number:
            kept.append(number)
            continue
        if cost > left:
            part = begun + max(0, int((left - per_epoch) / max(per_step, 1e-9)))
            if begun or not kept or (len(kept) < 3 and part >= _FEWEST_PART * number):
                kept.append(max(1, min(number, part)))
            break
        left -= cost
        kept.append(number)
    return tuple(kept)


def estimate(run: Run, steps: Sequence[int], per_step: float, per_epoch: float) -> str:
    """How long the rest of a run without a limit will take; "" where it is over at once."""
    left = seconds_left(run, steps, per_step, per_epoch)
    if left < _LEAST_TOLD:
        return ""
    most = ", less if it stops early" if run.config.early_stopping is not None else ""
    each = spell_duration(max(steps, default=0) * per_step + per_epoch)
    return f"training takes about {spell_duration(left)} more{most}: {each} for each of {len(steps)} epochs"


def described(run: Run, steps: Sequence[int], seconds: float, per_step: float, per_epoch: float) -> str:
    """What of a run fits into its time."""
    time_given, each = spell_duration(seconds), spell_duration(max(run.all_steps) * per_step + per_epoch)
    left = spell_duration(seconds_left(run, steps, per_step, per_epoch))
    if sum(steps) == sum(run.all_steps):
        return f"all {len(steps)} epochs fit into {time_given}: about {left} more for training, {each} for an epoch"
    return (
        f"{_kept(steps, run.all_steps)} of {len(run.all_steps)} epochs fit into {time_given}: about {left} more for "
        f"training, {each} for an epoch"
    )


def seconds_left(run: Run, steps: Sequence[int], per_step: float, per_epoch: float) -> float:
    """Of the steps that are not done, and of what each epoch has beside them."""
    return max(0, sum(steps) - run.global_step) * per_step + (len(steps) - run.epoch) * per_epoch


def _kept(steps: Sequence[int], all_steps: Sequence[int]) -> str:
    """Epochs, the part of a last one too."""
    number = len(steps) - 1 + steps[-1] / all_steps[len(steps) - 1] if steps else 0.0
    return f"{number:.2g}" if number < 10 and number % 1 else f"{number:.0f}"


def _missing(steps: Sequence[int], all_steps: Sequence[int]) -> str:
    number = len(all_steps) - len(steps) + (1 - steps[-1] / all_steps[len(steps) - 1] if steps else 0.0)
    return f"{number:.2g} of {len(all_steps)}" if number < 10 and number % 1 else f"{number:.0f} of {len(all_steps)}"

"""Time: how long a run will take, and how many epochs fit into the time that it is given.

A schedule that is cut off in the middle is worse than a shorter one that ends. So the number of epochs is decided
early: after a twentieth of the time, or after the first epoch with its validation where that is sooner, which is within
or soon after the learning rate's warm-up. Then the schedule is laid over what fits. The measured pace is a fact of the
machine, but what follows from it is no chance: the planned steps are part of the checkpoint, and a run that is resumed
keeps them.

A machine that becomes slower afterwards makes the plan too long. Then training ends with the step that the time is up
in, is validated once more, and the best weights so far are the result.
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
    "measured_slowness",
    "rows_that_fit",
    "steps_that_fit",
]

_SHARE_OF_MEASURING = 0.05
_SHARE_OF_FEATURES, _FEWEST_ROWS = 0.5, 32
_FEWEST_STEPS = 3
_FEWEST_PART = 0.1  # of an epoch, that is worth being trained on
_LEAST_TOLD = 2.0  # seconds of a run without a limit
_MARGIN = 0.03  # of all the time
_ROUNDS, _SECONDS_OF_ROUND = 40, 2.5e-3  # of `measured_slowness`, measured on an idle core
_SECONDS_OF_ESTIMATE = 2.0  # measured, before a run without a limit says how long it will take


class Deadline:
    """When a run must be over, and what was left out for it.

    Args:
        seconds: That are given.
        now: The clock.
        since: When they began, by that clock; None: now.
        slowness: How many times as long as an idle core this machine takes, see `measured_slowness`.

    Attributes:
        seconds: The time that was given in all.
        slowness: As given.
    """

    def __init__(
        self,
        seconds: float,
        now: Callable[[], float] = time.monotonic,
        *,
        since: float | None = None,
        slowness: float = 1.0,
    ) -> None:
        self.seconds, self.slowness = seconds, slowness
        self._noted: dict[str, str] = {}
        self._now = now
        self._end = (now() if since is None else since) + seconds

    @property
    def left_out(self) -> list[str]:
        """What did not fit, in words."""
        return list(self._noted.values())

    def note(self, key: str, text: str) -> None:
        """Notes something as left out, in place of what was noted under the same key; "" for nothing."""
        self._noted.pop(key, None)
        if text:
            self._noted[key] = text

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._end - self._now())

    def allows(self, seconds: float, what: str) -> bool:
        """Whether something fits that is expected to take so long; else it is noted as left out."""
        if seconds <= self.left:
            return True
        self.note(what, f"{what} (about {spell_duration(seconds)}, {spell_duration(self.left)} were left)")
        return False

    def allows_work(self, seconds: float, what: str) -> bool:
        """As `allows`, of seconds that an idle core is guessed to take."""
        return self.allows(seconds * self.slowness, what)

    def within(self, other: Deadline) -> Deadline:
        """This deadline, or an earlier one where another is over before; what is left out is listed here."""
        earlier = Deadline(min(self.left, other.left), self._now, slowness=self.slowness)
        earlier._noted = self._noted
        return earlier

    def reserving(self, seconds: float) -> Deadline:
        """An earlier deadline, after which so many seconds are left of this one, with the same list."""
        earlier = Deadline(max(0.0, self.left - seconds), self._now, slowness=self.slowness)
        earlier._noted = self._noted
        return earlier

    def part(self, share: float) -> Deadline:
        """A deadline after a share of what is left, with the same list of what was left out."""
        part = Deadline(share * self.left, self._now, slowness=self.slowness)
        part._noted = self._noted
        return part


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
    missing = f"features of {rows - number:,} of {rows:,} training rows, which are not trained on"
    deadline.note("features", missing if number < rows else "")
    return number


def measured_slowness(now: Callable[[], float] = time.monotonic) -> float:
    """How many times as long as an idle core, for which seconds are guessed, this machine takes now; 1 at least.

    A tenth of a second of what simple models are fitted with: matrix products, sorting, and Python itself.
    """
    generator = np.random.default_rng(0)
    matrix, values = generator.random((200, 200)), generator.random(50_000)
    _ = matrix @ matrix  # the first one loads the library
    start = now()
    for _ in range(_ROUNDS):
        np.sort(values)
        sum(range(20_000))
        matrix @ matrix
    return max(1.0, (now() - start) / (_ROUNDS * _SECONDS_OF_ROUND))


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """The time that a training is given.

    Attributes:
        deadline: When everything must be over.
        name: What is trained, for what is left out.
        rows_afterwards: Rows that are predicted after training: evaluation, weights of experts, contributions.
        fixed_seconds: What else is done afterwards.
        validation_rows: Rows of each validation.
    """

    deadline: Deadline
    name: str = "training"
    rows_afterwards: int = 0
    fixed_seconds: float = 0.0
    validation_rows: int = 0

    def for_training(self, seconds_per_row: float) -> float:
        """Seconds that are left for training, where a predicted row takes so long."""
        margin = _MARGIN * self.deadline.seconds
        return self.deadline.left - self.rows_afterwards * seconds_per_row - self.fixed_seconds - margin

    def is_left(self, validation_rows: int, seconds_per_row: float) -> bool:
        """Whether there is time for another step, a validation and what follows training."""
        rows = self.rows_afterwards + validation_rows
        return self.deadline.left > rows * seconds_per_row + self.fixed_seconds

    def note(self, steps: Sequence[int], all_steps: Sequence[int]) -> None:
        """Notes the epochs that are left out, in place of what was noted before."""
        missing = f"{_missing(steps, all_steps)} epochs of {self.name}" if sum(steps) < sum(all_steps) else ""
        self.deadline.note(self.name, missing)


@dataclass
class Pace:
    """What has been measured of this process's steps and validations."""

    started: float = field(default_factory=time.monotonic)
    steps: int = 0
    rows: int = 0
    first_step: float = 0.0
    validation_seconds: float = 0.0
    validations: int = 0
    since_first: float = 0.0

    def step(self, rows: int) -> None:
        """Counts a step; the first one warms up, and is left out of the pace."""
        now = time.monotonic()
        self.steps += 1
        if self.steps == 1:
            self.first_step, self.started = now - self.started, now
        else:
            self.rows += rows
            self.since_first = now - self.started - self.validation_seconds

    def validated(self, seconds: float) -> None:
        """Counts a validation."""
        self.validation_seconds += seconds
        self.validations += 1

    @property
    def elapsed(self) -> float:
        """Seconds of steps and validations."""
        return self.first_step + time.monotonic() - self.started

    @property
    def seconds_per_step(self) -> float:
        """Of training alone; of the first step where there is only that."""
        return self.since_first / (self.steps - 1) if self.steps > 1 else self.first_step

    def seconds_per_predicted_row(self, validation_rows: int) -> float:
        """Measured; else from the steps: going forward alone takes a third, and half is on the safe side."""
        if self.validations and validation_rows:
            return self.validation_seconds / self.validations / validation_rows
        return 0.5 * self.since_first / self.rows if self.rows else 0.0

    def is_measured(self, *, epochs: int, available: float | None) -> bool:
        """Whether enough is known: an epoch, or some steps that took long enough."""
        if epochs > 0:
            return True
        least = _SECONDS_OF_ESTIMATE if available is None else _SHARE_OF_MEASURING * available
        return self.steps > _FEWEST_STEPS and self.elapsed >= least


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
    left = _seconds_left(run, steps, per_step, per_epoch)
    if left < _LEAST_TOLD:
        return ""
    most = ", less if it stops early" if run.config.early_stopping is not None else ""
    each = spell_duration(max(steps, default=0) * per_step + per_epoch)
    return f"training takes about {spell_duration(left)} more{most}: {each} for each of {len(steps)} epochs"


def described(run: Run, steps: Sequence[int], seconds: float, per_step: float, per_epoch: float) -> str:
    """What of a run fits into its time."""
    time_given, each = spell_duration(seconds), spell_duration(max(run.all_steps) * per_step + per_epoch)
    left = spell_duration(_seconds_left(run, steps, per_step, per_epoch))
    if sum(steps) == sum(run.all_steps):
        return f"all {len(steps)} epochs fit into {time_given}: about {left} more for training, {each} for an epoch"
    return (
        f"{_kept(steps, run.all_steps)} of {len(run.all_steps)} epochs fit into {time_given}: about {left} more for "
        f"training, {each} for an epoch"
    )


def _seconds_left(run: Run, steps: Sequence[int], per_step: float, per_epoch: float) -> float:
    return max(0, sum(steps) - run.global_step) * per_step + (len(steps) - run.epoch) * per_epoch


def _kept(steps: Sequence[int], all_steps: Sequence[int]) -> str:
    """Epochs, the part of a last one too."""
    number = len(steps) - 1 + steps[-1] / all_steps[len(steps) - 1] if steps else 0.0
    return f"{number:.2g}" if number < 10 and number % 1 else f"{number:.0f}"


def _missing(steps: Sequence[int], all_steps: Sequence[int]) -> str:
    number = len(all_steps) - len(steps) + (1 - steps[-1] / all_steps[len(steps) - 1] if steps else 0.0)
    return f"{number:.2g} of {len(all_steps)}" if number < 10 and number % 1 else f"{number:.0f} of {len(all_steps)}"

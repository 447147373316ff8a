"""What a run with a time owes: work that is done in any case, and how long an idle core takes for it.

These are guesses until the run has done the same once: then the clock's own figure stands in their place. So that a
busy machine leaves out what may be left out, and not what makes a run of it.
"""

from __future__ import annotations

from functools import partial

from polysense.training.time_plan import Deadline, measured_slowness

__all__ = ["BUNDLE", "CALIBRATION", "END", "REPORT", "SCORES", "TEST_FEATURES", "begun_deadline"]

SCORES, REPORT, BUNDLE, CALIBRATION = "scores", "report", "bundle", "calibration"
END = "the end of the process"
TEST_FEATURES = "features of the test rows"

_WORK = {CALIBRATION: 0.3, SCORES: 0.7, REPORT: 1.0, BUNDLE: 0.4, END: 0.4}
"""Seconds of an idle core on 400 rows of 30 numbers; what grows with the rows is measured while training."""

_ROUNDS = 12  # of looking again how slow the machine is, 30 ms of an idle core


def begun_deadline(seconds: float, since: float | None = None) -> Deadline:
    """The deadline of a run that owes everything.

    Args:
        seconds: That it has.
        since: When they began, by `time.monotonic`; None: now.
    """
    deadline = Deadline(
        seconds, since=since, slowness=measured_slowness(), measure=partial(measured_slowness, rounds=_ROUNDS)
    )
    for key, work in _WORK.items():
        deadline.owe_work(key, work)
    return deadline

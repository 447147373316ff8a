"""Trainings in several processes, each with its own fitted preprocessing.

Processes are started afresh, not forked: a forked one would carry over thread pools that torch has started. Each runs
in a process group of its own, so that Ctrl-C reaches the parent alone, which passes it on exactly once: a second signal
would cut a training short before its state is saved. One whose parent was killed ends at once, as if killed itself:
the same command may be at work in its folder a second later.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from polysense.core.machine import num_cpus
from polysense.data.tables.sources import Table
from polysense.errors import TrainingInterrupted, UserError
from polysense.training.interrupts import Interrupts
from polysense.workflows.comparison.trial import Trial, TrialRunner

__all__ = ["Outcome", "run_all"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended.

    Attributes:
        trial: Which one.
        result: Its result.json; None if it failed.
        failure: Why it failed.
        is_mistake: Whether the recipe is at fault, so that another seed would fail too.
    """

    trial: Trial
    result: Mapping[str, Any] | None = None
    failure: str = ""
    is_mistake: bool = False


def run_all(
    trials: Sequence[Trial],
    tables: Mapping[str, Table],
    evaluated_split: str,
    *,
    keep: bool,
    jobs: int,
    skip: Callable[[Trial], str],
) -> Iterator[Outcome]:
    """Trains all of them, in this process or in several.

    Args:
        trials: What to train, in order.
        tables: Per split.
        evaluated_split: The split whose metrics get an interval over rows.
        keep: Whether to save each model.
        jobs: Processes; 1 is this one.
        skip: Asked before each: why it can only fail, or "".

    Yields:
        Each one's outcome, as they end.

    Raises:
        TrainingInterrupted: Ctrl-C or SIGTERM; the state of what was under way was saved.
    """
    if jobs > 1 and len(trials) > 1:
        yield from _in_processes(trials, tables, evaluated_split, keep=keep, jobs=min(jobs, len(trials)), skip=skip)
        return
    runner = TrialRunner(tables, evaluated_split, keep=keep)
    for trial in trials:
        reason = skip(trial)
        yield Outcome(trial=trial, failure=reason, is_mistake=True) if reason else _attempt(runner, trial)


def _attempt(runner: TrialRunner, trial: Trial) -> Outcome:
    """Trains one; whatever is wrong with it must not stop the others."""
    try:
        return Outcome(trial=trial, result=runner.run(trial))
    except TrainingInterrupted:
        raise
    except Exception as error:  # noqa: BLE001 (a third party's component may fail in any way)
        reason = " ".join(str(error).split())
        is_mistake = isinstance(error, UserError)
        return Outcome(trial=trial, failure=f"{type(error).__name__}: {reason}", is_mistake=is_mistake)


def _in_processes(
    trials: Sequence[Trial],
    tables: Mapping[str, Table],
    evaluated_split: str,
    *,
    keep: bool,
    jobs: int,
    skip: Callable[[Trial], str],
) -> Iterator[Outcome]:
    settings = (tables, evaluated_split, keep, max(1, min(torch.get_num_threads(), num_cpus() // jobs)))
    context = multiprocessing.get_context("spawn")
    left = list(trials)
    workers: dict[multiprocessing.connection.Connection, _Worker] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(stack.enter_context(Interrupts()).at_once())  # SIGTERM is as good as Ctrl-C
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, *settings), daemon=False)
            process.start()
            theirs.close()
            workers[ours] = _Worker(process)
            stack.callback(_end, ours, process)
        try:
            yield from _distribute(workers, left, skip)
        except KeyboardInterrupt:
            for worker in workers.values():
                if worker.trial is not None and worker.process.pid is not None and worker.process.is_alive():
                    os.kill(worker.process.pid, signal.SIGINT)
            raise TrainingInterrupted("stopped; the state of the trainings under way is saved") from None


@dataclass
class _Worker:
    process: Any
    trial: Trial | None = None


def _distribute(
    workers: Mapping[multiprocessing.connection.Connection, _Worker],
    left: list[Trial],
    skip: Callable[[Trial], str],
) -> Iterator[Outcome]:
    idle = list(workers)
    while True:
        while idle and left:
            trial = left.pop(0)
            if reason := skip(trial):
                yield Outcome(trial=trial, failure=reason, is_mistake=True)
                continue
            connection = idle.pop(0)
            workers[connection].trial = trial
            with contextlib.suppress(BrokenPipeError):  # it died; `recv` says so
                connection.send(trial)
        busy = [connection for connection, worker in workers.items() if worker.trial is not None]
        if not busy:
            if left:
                raise ChildProcessError("all training processes have died; the machine may be short of memory")
            return
        ready = multiprocessing.connection.wait(busy)
        for connection in [one for one in busy if one in ready]:
            worker = workers[connection]
            done, worker.trial = worker.trial, None
            assert done is not None
            try:
                outcome = connection.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join(timeout=5)
                code = worker.process.exitcode
                yield Outcome(trial=done, failure=f"its process died (exit code {code}); it may lack memory")
                continue
            if outcome is None:
                raise KeyboardInterrupt
            idle.append(connection)
            yield outcome


def _serve(
    connection: multiprocessing.connection.Connection,
    tables: Mapping[str, Table],
    evaluated_split: str,
    keep: bool,
    num_threads: int,
) -> None:
    """A process: trains what it is sent until nothing more comes."""
    if sys.platform != "win32":
        os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(num_threads)
    runner = TrialRunner(tables, evaluated_split, keep=keep)
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while (trial := connection.recv()) is not None:
            try:
                outcome: Outcome | None = _attempt(runner, trial)
            except (TrainingInterrupted, KeyboardInterrupt):
                outcome = None
            connection.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _end(connection: multiprocessing.connection.Connection, process: Any) -> None:
    """Lets a process finish what it is at, and ends it."""
    with contextlib.suppress(BrokenPipeError, OSError):
        connection.send(None)
    process.join(timeout=60)
    if process.is_alive():
        process.terminate()
        process.join(timeout=10)
    connection.close()

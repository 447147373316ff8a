"""Processes that read a table ahead of the training.

They are forked where the system can (Linux): a forked worker starts in milliseconds, shares the table's memory and
needs no `if __name__ == "__main__"` in the user's script. What a forked process must not do is use thread pools that
the parent had started: torch's are switched off in it (one thread), tokenizers' are told so before the fork, and a
polars cell is read without polars' pool.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.utils.data

from polysense.core.allocator import keep_freed_memory
from polysense.data.batches.dataset import ItemSource
from polysense.errors import PolysenseError

__all__ = ["WorkerPool"]

_PREFETCH = 2


class WorkerPool:
    """Reads lists of rows in worker processes, in order, on torch's DataLoader.

    The workers live until `close`. A worker that dies ends in an error at the next batch, at most about 5 s later.

    Args:
        dataset: What to read.
        num_workers: Processes; at least one.
        collate_fn: Turns what was read of one list into what is sent to this process; picklable.
        pin_memory: Whether to put batches into page-locked memory, in a thread.
    """

    def __init__(self, dataset: ItemSource, num_workers: int, collate_fn: Any, *, pin_memory: bool = False) -> None:
        self._plan = _Plan()
        self._num_workers = num_workers
        self._loader: torch.utils.data.DataLoader[Any] | None = torch.utils.data.DataLoader(
            dataset,  # type: ignore[arg-type]  # has __getitems__ and __len__, which is what DataLoader needs
            batch_sampler=self._plan,
            num_workers=num_workers,
            collate_fn=collate_fn,
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            # DataLoader draws a seed for its workers; from the global generator, the number of workers would change
            # every dropout mask of the run.
            generator=torch.Generator(),
            prefetch_factor=_PREFETCH,
            persistent_workers=True,
        )

    def read(self, lists: Iterator[list[int]]) -> Iterator[Any]:
        """What `collate_fn` makes of each list of rows, in order. Ends a reading that is still going on.

        Raises:
            PolysenseError: A worker process died.
        """
        assert self._loader is not None, "the loader is closed"
        self._plan.lists = lists
        with _fork_safely():
            iterator = iter(self._loader)
        while True:
            try:
                with self._watching():
                    item = next(iterator)
            except StopIteration:
                return
            except (_WorkerDied, RuntimeError, OSError, EOFError) as error:
                # Whatever a worker's code raised has its own traceback in the message. Else it is what became of a
                # connection to a process that is no more.
                if str(error).startswith("Caught ") or not (dead := self._dead(patience=1.0)):
                    raise
                self.close()
                raise PolysenseError(
                    f"a process that reads the table died ({', '.join(dead)}). Most often the machine ran out of "
                    "memory, or of shared memory (/dev/shm; in a container raise it with --shm-size). Use fewer than "
                    f"{self._num_workers} workers (num_workers; 0 reads without processes)"
                ) from error
            yield item

    def _dead(self, patience: float = 0.0) -> list[str]:
        """Which workers ended, and how; waits up to `patience` seconds for one."""
        iterator = self._loader._iterator if self._loader is not None else None
        workers = [] if iterator is None else iterator._workers  # type: ignore[attr-defined]
        if patience:
            ready = multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=patience)
            for worker in workers:
                if worker.sentinel in ready:
                    # A process closes its files a moment before it can be waited for.
                    worker.join(timeout=patience)
        return [f"process {w.pid}: exit code {w.exitcode}" for w in workers if not w.is_alive()]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """While a batch is waited for, a worker's death ends the waiting at once.

        DataLoader looks every 5 s whether its workers live, but not inside the reading of a message, which never ends
        if its sender died halfway. The handler ends that reading and raises nothing: a signal may arrive inside a
        garbage collector's callback or a finalizer, where Python reports an exception and drops it.
        """
        if not _can_handle_children():
            yield
            return

        def on_child(number: int, frame: FrameType | None) -> None:
            if self._dead():
                self._end_reading()
            if callable(before):
                before(number, frame)

        before = signal.signal(signal.SIGCHLD, on_child)
        try:
            if self._dead():
                raise _WorkerDied
            yield
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)

    def _end_reading(self) -> None:
        """Puts the end of a stream in the place of what workers send, so that whoever reads it gets an EOFError."""
        if self._loader is None or self._loader._iterator is None:
            return
        reader = self._loader._iterator._worker_result_queue._reader  # type: ignore[attr-defined]
        if not reader.closed:
            ended, writer = os.pipe()
            os.close(writer)
            os.dup2(ended, reader.fileno(), inheritable=False)
            os.close(ended)

    def close(self) -> None:
        """Ends the worker processes. The pool can't be used afterwards."""
        if self._loader is not None and self._loader._iterator is not None:
            self._loader._iterator._shutdown_workers()  # type: ignore[attr-defined]
        self._loader = None


class _WorkerDied(Exception):
    """Ends the waiting before it begins; never leaves this module."""


class _Plan:
    """The batch sampler that DataLoader asks for rows; `lists` is set before each reading."""

    def __init__(self) -> None:
        self.lists: Iterator[list[int]] = iter(())

    def __iter__(self) -> Iterator[list[int]]:
        return self.lists


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _can_handle_children() -> bool:
    return sys.platform != "win32" and threading.current_thread() is threading.main_thread()


@contextmanager
def _fork_safely() -> Iterator[None]:
    """Around the start of workers: no thread pool is carried over, and no signal handler is left behind."""
    handles_children = _can_handle_children()
    parallel = os.environ.get("TOKENIZERS_PARALLELISM")
    # Without it, tokenizers writes a warning to stderr in each child once its pool was used in the parent.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    before = signal.getsignal(signal.SIGCHLD) if handles_children else None
    try:
        with warnings.catch_warnings():
            # Python 3.12+ warns at each fork of a process that has threads; see the module's docstring.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            yield
    finally:
        if parallel is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = parallel
        if handles_children:
            # DataLoader's handler raises wherever the program happens to be when a worker dies, in the middle of a
            # training step. `_watching` does where the error can be told from others.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if before is None else before)

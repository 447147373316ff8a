"""A Ray cluster, by Ray Data: actors read, one processor each, and this process takes what they send, in order.

Results are sent to the caller, which alone writes. Workers could as well write to a store on a shared file system, but
then many processes would append to one file, records of several writers would have to be put into one order, and the
one lock, the bound and the repair of a killed write would have to work over a network. What is sent is what would be
written in any case, once over the network. Ray Data holds actors back while the caller is slow: at most `_IN_FLIGHT`
bytes of results wait, whatever the table's size.

Ray is an extra, imported here alone and when something is read. Where nobody connected to a cluster before, this does:
to an address, or to a Ray of its own on this machine, which ends with it.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from polysense.core.error_text import first_line
from polysense.core.machine import num_cpus
from polysense.data.batches.dataset import ItemSource
from polysense.data.executors.base import Executor, lists_of
from polysense.errors import ConfigError, DependencyError, PolysenseError, UserError

__all__ = ["RayExecutor"]

_ADDRESS = "RAY_ADDRESS"
_MOST_BLOCKS = 2000  # that a table is cut into: each is a task, and what is known of it is kept to the end
_BLOCK_BYTES = 2**24  # of results, that are sent together
_IN_FLIGHT = 2**30  # bytes of results that wait
_LOCAL_STORE = 2**30  # bytes of shared memory, of a Ray of our own
_LOGGERS = {
    "ray.data": logging.WARNING,
    "ray.data._internal.progress": logging.ERROR,  # that there are no bars
    "ray.data._internal.execution.resource_manager": logging.ERROR,  # that its memory is bounded
    "ray._private.authentication.authentication_token_setup": logging.ERROR,  # that there is a password
}
_POSITIONS, _RESULT = "positions", "result"


class RayExecutor(Executor):
    """Reads on a Ray cluster.

    Args:
        address: Of the cluster (`HOST:PORT`, `auto`); None: $RAY_ADDRESS, else a Ray of its own on this machine. Where
            this process is connected to one, that one is taken.
        num_workers: Actors, at most; None: as many as the cluster has processors.

    Raises:
        DependencyError: Ray Data is not installed.
    """

    is_remote = True

    def __init__(self, address: str | None = None, num_workers: int | None = None) -> None:
        missing = [name for name in ("ray", "pandas") if find_spec(name) is None]
        if missing:
            raise DependencyError(
                f"decoding on a Ray cluster needs {' and '.join(missing)}, not installed: "
                "pip install 'polysense[cluster]'"
            )
        self._address = address or os.environ.get(_ADDRESS, "").strip() or None
        self._num_workers = num_workers
        self._is_own = False

    def read(self, source: ItemSource, positions: Sequence[int], at_once: int) -> Iterator[Any]:
        """See the base."""
        if not len(positions):
            return
        import pyarrow as pa

        with _quiet():
            self._connect()
        import ray
        import ray.data  # which sets its loggers up

        lists = [list(map(int, each)) for each in lists_of(positions, at_once)]
        size = -(-len(lists) // _MOST_BLOCKS)
        schema = pa.schema([(_POSITIONS, pa.list_(pa.int64()))])
        blocks = [pa.table({_POSITIONS: part}, schema) for part in lists_of(lists, size)]  # type: ignore[arg-type]
        try:
            with _quiet():
                for result in _results(source, blocks, self._most_actors(len(blocks))):
                    if isinstance(result, UserError):
                        raise result
                    yield result
        except ray.exceptions.RayError as error:
            raise PolysenseError(f"the Ray cluster failed: {_cause(error)}") from error

    def _most_actors(self, num_blocks: int) -> int:
        import ray

        most = self._num_workers or int(ray.cluster_resources().get("CPU", 1))
        return max(1, min(most, num_blocks))

    def _connect(self) -> None:
        """Connects, unless this process is connected.

        Raises:
            ConfigError: There is no cluster at the address, or one of another version.
            PolysenseError: None can be started here.
        """
        # Nothing is sent to whoever makes Ray, unless the user says so.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as later versions do unasked; or they warn
        import ray

        if ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
        if self._address is None:
            workers = self._num_workers or num_cpus()
            options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _LOCAL_STORE}
        self._is_own = True  # though it may fail halfway
        with _kept_signals():
            try:
                ray.init(address=self._address or "local", **options)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                said = first_line(error, 300)
                if self._address is None:
                    raise PolysenseError(f"Ray can't be started on this machine: {said}") from error
                raise ConfigError(
                    f"no work can be given to a Ray cluster at {self._address!r}: {said}. Expected HOST:PORT of its "
                    f"head, or auto (--ray-address, {_ADDRESS}); for one with tokens set RAY_AUTH_MODE=token"
                ) from error

    def close(self) -> None:
        """Disconnects, where it had connected."""
        if self._is_own:
            import ray

            with _kept_signals():
                ray.shutdown()
            self._is_own = False


class _Actor:
    """Reads positions on a worker, and sends each item as a row of bytes."""

    def __init__(self, source: bytes) -> None:
        self._source: ItemSource = pickle.loads(source)

    def __call__(self, batch: Any) -> Iterator[Any]:
        import pyarrow as pa

        for positions in batch.column(_POSITIONS).to_pylist():
            try:
                items: Sequence[Any] = self._source.__getitems__(positions)
            except UserError as error:  # Ray would make another error of it
                items = [error]
            for item in items:
                raw = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
                yield pa.table({_RESULT: pa.array([raw], pa.large_binary())})  # an item may be larger than 2 GiB


def _results(source: ItemSource, blocks: Sequence[Any], most_actors: int) -> Iterator[Any]:
    import ray.data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of settings that are copied as all others are
        context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    context.execution_options.preserve_order = True  # the same store, whoever decoded it
    context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(object_store_memory=_IN_FLIGHT)
    with ray.data.DataContext.current(context):
        cells = ray.data.from_arrow(list(blocks)).map_batches(
            _Actor,
            fn_constructor_args=(pickle.dumps(source, protocol=pickle.HIGHEST_PROTOCOL),),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most_actors, initial_size=most_actors),
            num_cpus=1,
        )
        for batch in cells.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for value in batch.column(_RESULT):
                yield pickle.loads(value.as_buffer())


def _cause(error: BaseException) -> str:
    """What went wrong, in a line; Ray's errors hold the worker's traceback, whose last line says it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1][:400] if lines else type(error).__name__
    if "No module named" in text:
        text += ". Each machine of the cluster needs the same polysense and the same packages"
    return text


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's account of its plans and settings: the caller shows progress."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name, level in _LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Around what Ray does when it starts and ends, which puts a handler of its own in the place of the caller's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)

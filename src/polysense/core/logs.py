"""The library's loggers: one line a message, whatever names and cells it quotes.

The text is put together and escaped where it is logged, not in a handler, since programs that use polysense bring
handlers of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from polysense.escaping import visible

__all__ = ["collected_remarks", "get_logger", "remark", "warn_of_each"]

_remarks: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


def get_logger(name: str) -> logging.Logger:
    """The logger of a name; tests hold that no module asks `logging` for one."""
    logger = logging.getLogger(name)
    logger.addFilter(_escape)  # the same one is added once
    return logger


def warn_of_each(log: logging.Logger, warnings: Iterable[str]) -> tuple[str, ...]:
    """Logs warnings, one a line, and gives them back."""
    logged = tuple(warnings)
    for warning in logged:
        log.warning("%s", warning)
    return logged


def remark(log: logging.Logger, message: str, *args: object) -> None:
    """Logs a warning on how data is read, which `collected_remarks` keeps, whatever is logged.

    Args:
        log: Where it is logged.
        message: With places for the arguments, as `logging` has them.
        args: The arguments.
    """
    log.warning(message, *args)
    remarks = _remarks.get()
    if remarks is not None:
        remarks.append(message % args)


@contextmanager
def collected_remarks() -> Iterator[list[str]]:
    """Within it, a list of what `remark` is called with: deep in a reader nobody knows who will show it."""
    remarks: list[str] = []
    token = _remarks.set(remarks)
    try:
        yield remarks
    finally:
        _remarks.reset(token)


def _escape(record: logging.LogRecord) -> bool:
    record.msg, record.args = visible(record.getMessage()), ()
    return True

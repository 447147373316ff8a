"""The library's loggers: one line a message, whatever names and cells it quotes.

The text is put together and escaped where it is logged, not in a handler, since programs that use polysense bring
handlers of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from polysense.escaping import visible

__all__ = ["get_logger", "warn_of_each"]


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


def _escape(record: logging.LogRecord) -> bool:
    record.msg, record.args = visible(record.getMessage()), ()
    return True

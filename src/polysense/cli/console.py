"""What the commands write, and where: results on stdout, everything else on stderr.

With `--json` stdout carries exactly one JSON document, so whatever a library prints while the work is done is sent
to stderr.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from polysense.core.json import json_text

__all__ = [
    "configure_logging",
    "is_quiet",
    "is_verbose",
    "reserved_stdout",
    "silenced_libraries",
    "write",
    "write_error",
    "write_piece",
    "write_unreadable",
]

_NUM_NAMED = 10
_SILENT_LIBRARIES = {
    "PYTHONWARNINGS": "ignore",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
}


def configure_logging(verbosity: int) -> None:
    """Sends the library's log to stderr.

    Args:
        verbosity: -1 = warnings only, 0 = what a user wants to know, 1 = every detail.
    """
    logger = logging.getLogger("polysense")
    level = logging.WARNING if verbosity < 0 else logging.INFO if verbosity == 0 else logging.DEBUG
    logger.setLevel(level)
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.highlighter import NullHighlighter
        from rich.logging import RichHandler

        # Rich keeps a progress bar whole when a line is logged above it. Names of columns and files may hold square
        # brackets, so no markup.
        handler = RichHandler(
            console=Console(stderr=True), show_time=False, show_path=False, highlighter=NullHighlighter(), markup=False
        )
    else:
        # A log file wants one line per message, not lines broken at 80 columns.
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    if verbosity <= 0:
        handler.addFilter(_not_displayed_as_progress)
    handler.set_name("polysense.cli")
    for old in [old for old in logger.handlers if old.get_name() == handler.get_name()]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.propagate = False


@contextlib.contextmanager
def silenced_libraries(line: Sequence[str]) -> Iterator[None]:
    """Keeps third parties' warnings and advice off the terminal, with -q their progress bars too, unless -v or --debug
    stands on the line: a user can do nothing about them.

    The filter is appended, so those that somebody set (PYTHONWARNINGS, -W) come first. The environment reaches
    libraries that are not imported yet, and worker processes.
    """
    if not {"-v", "--verbose", "--debug"}.isdisjoint(line):
        yield
        return
    requested = dict(_SILENT_LIBRARIES)
    if not {"-q", "--quiet"}.isdisjoint(line):
        requested["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    added = {name: value for name, value in requested.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", append=True)
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _not_displayed_as_progress(record: logging.LogRecord) -> bool:
    """The progress display says what training logs for train.log; once is enough."""
    return record.levelno > logging.INFO or not record.name.startswith("polysense.training")


def is_quiet() -> bool:
    """Whether the user asked for no progress bars and notices."""
    return not logging.getLogger("polysense").isEnabledFor(logging.INFO)


def is_verbose() -> bool:
    """Whether the user asked for every detail."""
    return logging.getLogger("polysense").isEnabledFor(logging.DEBUG)


def tolerate_odd_characters() -> None:
    """Makes stdout and stderr escape what their encoding lacks; a file's name may be no valid text at all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def reserved_stdout(reserve: bool = True) -> Iterator[None]:
    """Sends what is printed meanwhile to stderr; with `reserve=False` does nothing."""
    with contextlib.redirect_stdout(sys.stderr) if reserve else contextlib.nullcontext():
        yield


def write(result: Any) -> None:
    """Writes a result to stdout: a text as it is, anything else as one JSON document, in which NaN and infinities are
    null."""
    text = result if isinstance(result, str) else json_text(result, indent=2)
    write_piece(text if text.endswith("\n") else text + "\n")


def write_piece(text: str) -> None:
    """Writes a part of a result to stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_unreadable(cells: Sequence[object]) -> None:
    """Names the first cells that couldn't be read on stderr; --json and the API give all of them."""
    for cell in cells[:_NUM_NAMED]:
        write_error(f"unreadable: {cell}")
    if len(cells) > _NUM_NAMED:
        write_error(f"unreadable: {len(cells) - _NUM_NAMED} more cells; --json lists all")


def write_error(message: str) -> None:
    """Writes to stderr, in one piece."""
    sys.stderr.write(message.rstrip("\n") + "\n")
    sys.stderr.flush()

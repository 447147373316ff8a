"""What the commands write, and where: results on stdout, everything else on stderr.

Whatever is written passes `escaping.visible`: no name, cell or label drives a terminal. With `--json` stdout carries
exactly one JSON document, so whatever a library prints while the work is done is sent to stderr; with -q it is not
shown at all.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polysense.cli.hyperlinks import linked, supports_links
from polysense.core.json import json_text
from polysense.escaping import joined, visible

__all__ = [
    "configure_logging",
    "is_quiet",
    "is_verbose",
    "reserved_stdout",
    "settle_streams",
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
_own: dict[str, Any] = {}  # stdout and stderr, while only polysense writes to them


def configure_logging(verbosity: int) -> None:
    """Sends the library's log to stderr.

    Args:
        verbosity: -1 = warnings only, 0 = what a user wants to know, 1 = every detail.
    """
    logger = logging.getLogger("polysense")
    level = logging.WARNING if verbosity < 0 else logging.INFO if verbosity == 0 else logging.DEBUG
    logger.setLevel(level)
    handler: logging.Handler
    stream = _stream("stderr")
    if stream.isatty():
        from rich.console import Console
        from rich.highlighter import NullHighlighter
        from rich.logging import RichHandler

        # Rich keeps a progress bar whole when a line is logged above it. Names of columns and files may hold square
        # brackets, so no markup.
        handler = RichHandler(
            console=Console(file=stream), show_time=False, show_path=False, highlighter=NullHighlighter(), markup=False
        )
    else:
        # A log file wants one line per message, not lines broken at 80 columns.
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    if verbosity <= 0:
        handler.addFilter(_not_displayed_as_progress)
    handler.setLevel(level)  # of its own: a run's train.log lowers the logger's while it is written
    handler.set_name("polysense.cli")
    for old in [old for old in logger.handlers if old.get_name() == handler.get_name()]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.propagate = False


@contextlib.contextmanager
def silenced_libraries(line: Sequence[str]) -> Iterator[None]:
    """Keeps third parties' warnings and advice off the terminal, unless -v or --debug stands on the line: a user can do
    nothing about them. With -q nothing that they write is shown, progress bars and what native code prints included.

    The filter is appended, so those that somebody set (PYTHONWARNINGS, -W) come first. The environment reaches
    libraries that are not imported yet, and worker processes.
    """
    if not {"-v", "--verbose", "--debug"}.isdisjoint(line):
        yield
        return
    is_silent = not {"-q", "--quiet"}.isdisjoint(line)
    requested = dict(_SILENT_LIBRARIES)
    if is_silent:
        requested["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    added = {name: value for name, value in requested.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings(), _streams_to_ourselves() if is_silent else contextlib.nullcontext():
            warnings.simplefilter("ignore", append=True)
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _streams_to_ourselves() -> Iterator[None]:
    """Lets nobody but this module write to stdout and stderr: not Python's code, nor native code, nor workers."""
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123 (no path: a device)
        for name, number, redirect in (
            ("stdout", 1, contextlib.redirect_stdout),
            ("stderr", 2, contextlib.redirect_stderr),
        ):
            stream: Any = getattr(sys, name)
            stream.flush()
            if isinstance(stream, io.TextIOWrapper) and _number(stream) == number:
                stack.callback(os.close, kept := os.dup(number))
                stack.callback(os.dup2, kept, number)
                os.dup2(nowhere.fileno(), number)
                stream = open(kept, "w", encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
                stack.callback(stream.close)
            _own[name] = stream
            stack.callback(_own.pop, name)
            stack.enter_context(redirect(nowhere))
        yield


def _number(stream: io.TextIOWrapper) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _stream(name: str) -> Any:
    """stdout or stderr, whoever else may write to it now; a test's is no TextIO."""
    return _own.get(name) or getattr(sys, name)


def _not_displayed_as_progress(record: logging.LogRecord) -> bool:
    """The progress display says what training logs for train.log; once is enough."""
    return record.levelno > logging.INFO or not record.name.startswith("polysense.training")


def is_quiet() -> bool:
    """Whether the user asked for no progress bars and notices."""
    return not logging.getLogger("polysense").isEnabledFor(logging.INFO)


def is_verbose() -> bool:
    """Whether the user asked for every detail."""
    return logging.getLogger("polysense").isEnabledFor(logging.DEBUG)


def settle_streams() -> None:
    """Makes stdout and stderr escape what their encoding lacks, since a file's name may be no valid text at all, and
    gives a closed one a place in /dev/null: the next file that is opened would take its number, and get its lines."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def reserved_stdout(reserve: bool = True) -> Iterator[None]:
    """Sends what is printed meanwhile to stderr; with `reserve=False` does nothing."""
    with contextlib.redirect_stdout(sys.stderr) if reserve else contextlib.nullcontext():
        yield


def write(result: Any, *, link: Path | None = None) -> None:
    """Writes a result to stdout: a text as it is, anything else as one JSON document, in which NaN and infinities are
    null.

    Args:
        result: What to write.
        link: A path in the text that can be clicked where the terminal knows links.
    """
    text = result if isinstance(result, str) else json_text(result, indent=2)
    text = text if text.endswith("\n") else text + "\n"
    stream = _stream("stdout")
    if link is None or not supports_links(stream.isatty()):
        write_piece(text)
        return
    stream.write(linked(visible(text, keep="\n"), link))
    stream.flush()


def write_piece(text: str) -> None:
    """Writes a part of a result to stdout, at once."""
    stream = _stream("stdout")
    stream.write(visible(text, keep="\n"))
    stream.flush()


def write_unreadable(cells: Sequence[object]) -> None:
    """Names the first cells that couldn't be read on stderr; --json and the API give all of them."""
    for cell in cells[:_NUM_NAMED]:
        write_error(f"unreadable: {cell}")
    if len(cells) > _NUM_NAMED:
        write_error(f"unreadable: {len(cells) - _NUM_NAMED} more cells; --json lists all")


def write_error(*lines: str) -> None:
    """Writes lines to stderr, in one piece; a line break inside one of them is shown as its code."""
    stream = _stream("stderr")
    with contextlib.suppress(OSError):  # nobody can be told, and the exit code still says it
        stream.write(joined(line.rstrip("\n") for line in lines) + "\n")
        stream.flush()

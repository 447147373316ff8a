"""How far a prediction has come, on a terminal and in a log."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from polysense.cli import console, progress
from polysense.core.logs import get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console.configure_logging(0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.rows_done("predicting") as told:
        assert told is not None
        told(0, 1000)
        told(320, 1000)
    assert "predicting" in terminal.getvalue()
    assert "320/1000" in terminal.getvalue()


def test_lines_in_a_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    console.configure_logging(0)
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    with progress.rows_done("predicting") as told:
        assert told is not None
        for step in range(1, 11):
            seconds[0] = 10.0 * step
            told(100 * step, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "predicting: 300 of 1,000 rows, 10.0 rows/s"
    assert len(lines) == 3


def test_quiet() -> None:
    console.configure_logging(-1)
    with progress.rows_done("predicting") as told:
        assert told is None
    console.configure_logging(0)


def test_what_a_run_logs_to_its_file_stays_off_a_quiet_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.configure_logging(-1)
    logger, before = logging.getLogger("polysense"), logging.getLogger("polysense").level
    logger.setLevel(logging.INFO)  # as train.log does
    try:
        get_logger("polysense.workflows").info("1 of 2 trainings")
        get_logger("polysense.workflows").warning("careful")
    finally:
        logger.setLevel(before)
        console.configure_logging(0)
    assert capsys.readouterr().err == "WARNING: careful\n"

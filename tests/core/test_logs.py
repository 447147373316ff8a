"""A message of ours is one line, for every handler, and every module logs by `get_logger`."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path

import pytest

from polysense.core.logs import collected_remarks, get_logger, remark

SOURCE = Path(str(files("polysense")))


def test_names_in_a_message_are_escaped_for_every_handler(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "polysense"):
        get_logger("polysense.tests").warning("column %r: %s (%d%%)", "a\nb", "\x1b[2J\r\nWARNING: forged", 5)
        get_logger("polysense.tests").info("100%")
    assert caplog.messages == ["column 'a\\nb': \\u001b[2J\\r\\nWARNING: forged (5%)", "100%"]


def test_remarks_are_kept_for_whoever_collects_them_even_where_nothing_is_logged() -> None:
    log = get_logger("polysense.tests")
    log.setLevel(logging.CRITICAL)
    try:
        remark(log, "%s", "before")
        with collected_remarks() as outer:
            remark(log, "column %d has no name", 3)
            with collected_remarks() as inner:
                remark(log, "100%%")
            remark(log, "line %s", 7)
    finally:
        log.setLevel(logging.NOTSET)
    assert (outer, inner) == (["column 3 has no name", "line 7"], ["100%"])


def test_no_module_asks_logging_for_a_logger_to_write_to() -> None:
    asking = {
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        if "logging.getLogger(" in file.read_text(encoding="utf-8")
    }
    # The first adds the escape, the others only handlers and levels.
    assert asking == {
        "core/logs.py", "training/callbacks/text_log.py", "cli/console.py", "data/executors/ray_cluster.py"
    }  # fmt: skip

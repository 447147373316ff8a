"""Makes the helpers of these tests importable, and leaves the library's logger as it was."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """The command line sets up the library's logger, to write where this test's output goes."""
    logger = logging.getLogger("polysense")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers[:] = before[0], before[1], before[2]

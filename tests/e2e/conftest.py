"""The small mixed table, and the model that was trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from runs import SMALL, write_table

import polysense


@pytest.fixture(scope="session")
def run(trained: Callable[[str], polysense.Run]) -> polysense.Run:
    return trained("classification")


@pytest.fixture(scope="session")
def table(run: polysense.Run) -> Path:
    return run.folder.parent / "data.csv"


@pytest.fixture
def make_table() -> Callable[..., Path]:
    return write_table


@pytest.fixture
def small() -> tuple[str, ...]:
    return SMALL

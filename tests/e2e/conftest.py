"""The small mixed table, and the model that was trained on it."""

from __future__ import annotations

import math
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


@pytest.fixture(autouse=True)
def unhurried_audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an audit of a training of seconds leaves out does not depend on how busy the machine is."""
    monkeypatch.setattr("polysense.workflows.audit.audit._FEWEST_SECONDS", math.inf)

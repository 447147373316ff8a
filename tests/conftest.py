"""What every test runs under: shapes checked, one thread, and the real data only where somebody says it lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

if os.environ.get("POLYSENSE_TYPECHECK", "1") != "0":
    # Before anything of polysense is imported: every annotated shape and type is checked on every call.
    # Off (POLYSENSE_TYPECHECK=0) for torch.compile(fullgraph=True), which can't trace the checks, and for timings.
    from jaxtyping import install_import_hook

    install_import_hook("polysense", "beartype.beartype")

import torch
from hypothesis import HealthCheck, settings

# Sums of floats depend on the number of threads, and two test workers share the machine.
torch.set_num_threads(1)

# The same examples every time, so that a red test is red for everybody; a shared machine makes deadlines noise.
# `pytest --hypothesis-profile=search` looks for new ones.
_SLOW_MACHINE = [HealthCheck.too_slow]
settings.register_profile("polysense", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=_SLOW_MACHINE)
settings.load_profile("polysense")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the fixture needs the data: the marker follows."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Gives the folder of a real data set by its name, or skips the test and says why."""

    def folder(name: str) -> Path:
        root = os.environ.get("POLYSENSE_REAL_DATA")
        if not root:
            pytest.skip("POLYSENSE_REAL_DATA names no folder of data sets")
        found = Path(root) / name
        if not found.is_dir():
            pytest.skip(f"{found} is not a folder")
        return found

    return folder

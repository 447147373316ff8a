"""The example package, installed as a user would, for processes that these tests start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from package_install import environment, install

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


class Run(Protocol):
    """Runs a program in a process that has the package, and gives what it printed."""

    def __call__(self, program: str, *arguments: object) -> str: ...


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the package."""
    folder = tmp_path_factory.mktemp("plugin")
    install(PLUGIN, folder / "site")
    return environment(folder / "site")


@pytest.fixture
def run(installed: dict[str, str]) -> Run:
    def go(program: str, *arguments: object) -> str:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=installed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return go

"""Installs a package as its users do, without a network, into a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["environment", "install"]


def install(project: Path, target: Path) -> None:
    """Builds a project and installs it alone: what it needs is there."""
    uv = Path(sys.executable).with_name("uv")
    copy = target.with_name(f"{target.name}-sources")
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("__pycache__"))
    command = [str(uv), "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "--no-cache"]
    done = subprocess.run(
        [*command, "--python", sys.executable, "--target", str(target), str(copy)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def environment(*folders: Path) -> dict[str, str]:
    """The environment of a process that has what is installed in some folders."""
    paths = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}

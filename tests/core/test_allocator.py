"""The allocator keeps what was freed, in the main process and in workers; a user's own settings stand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from polysense.core.allocator import keep_freed_memory, release_freed_memory

GLIBC = sys.platform.startswith("linux") and "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "")

PROGRAM = """
import resource, sys
import numpy as np
from polysense.core.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "set" else False)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    for _ in range(8):
        blocks = [np.full(1 << 20, 1.0) for _ in range(12)]  # 8 MiB each
        del blocks
step()
before = faults()
step()
print(faults() - before)
"""


def run(mode: str, **variables: str) -> tuple[bool, int]:
    """Whether the allocator was set, and the page faults of a step after the first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], env={**environment, **variables}, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    was_set, faults = done.stdout.split()
    return was_set == "True", int(faults)


@pytest.mark.skipif(not GLIBC, reason="only glibc's allocator is set")
def test_freed_memory_is_not_asked_for_again() -> None:
    was_set, faults = run("set")
    assert was_set
    assert faults < 500
    assert run("default")[1] > 10_000, "else there is nothing to set"


@pytest.mark.skipif(not GLIBC, reason="only glibc's allocator is set")
@pytest.mark.parametrize(
    "variables", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_a_users_own_settings_stand(variables: dict[str, str]) -> None:
    assert not run("set", **variables)[0]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert keep_freed_memory.__wrapped__() is False


def test_freed_memory_can_be_given_back_anywhere() -> None:
    kept = bytearray(b"kept" * 1000)
    release_freed_memory()
    assert kept == b"kept" * 1000

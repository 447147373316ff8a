"""What this process may use of its machine: processors, a folder for what can be made again, limits by variables."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from polysense.core.duration import parse_duration
from polysense.core.num_bytes import parse_bytes

__all__ = ["bytes_variable", "cache_folder", "max_cache_bytes", "num_cpus", "seconds_variable"]

_FOLDER, _BYTES = "POLYSENSE_CACHE", "POLYSENSE_CACHE_BYTES"
_DEFAULT_BYTES = 20 * 2**30


def num_cpus() -> int:
    """Processors that this process may run on; at least one."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def cache_folder() -> Path:
    """$POLYSENSE_CACHE, else `polysense` in the user's cache folder; it need not exist."""
    given = os.environ.get(_FOLDER)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "polysense"


def max_cache_bytes() -> int:
    """$POLYSENSE_CACHE_BYTES, else 20 GiB.

    Raises:
        ConfigError: The variable holds no number of bytes.
    """
    return bytes_variable(_BYTES, _DEFAULT_BYTES)


def bytes_variable(name: str, default: int) -> int:
    """What an environment variable says in bytes, or with a unit as in 50GB; the default where it is not set.

    Raises:
        ConfigError: It is no number of bytes.
    """
    text = os.environ.get(name, "").strip()
    return parse_bytes(text, f"the environment variable {name}") if text else default


def seconds_variable(name: str, default: float) -> float:
    """What an environment variable says in seconds, or with a unit as in 2m; the default where it is not set; 0 as 0.

    Raises:
        ConfigError: It is no duration.
    """
    text = os.environ.get(name, "").strip()
    if text == "0":
        return 0.0
    return parse_duration(text, f"the environment variable {name}") if text else default

"""Reads the tables that standard input names, one by one, and says of each how it ended, how long it took and what
memory; run as a process of its own, which a hostile table may end."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table
from polysense.errors import PolysenseError


def outcome(path: Path) -> str:
    try:
        table = read_table(path)
        for name in table.names[:50]:
            table.cells(name)
        if len(table.names) <= 200 and len(table) <= 100_000:  # guesses have tests, and limits, of their own
            infer(table, [])
    except PolysenseError as error:
        message = str(error)
        if "\x1b" in message or len(message) > 2_000:
            return f"message of {len(message)} characters: {message[:200]!r}"
        return "refused"
    except BaseException as error:
        return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:200]}"
    return "read"


def peak_memory() -> int:
    """Bytes. The usage that the system reports of a process begins with its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        start = time.process_time()
        ended = outcome(Path(line.strip()))
        seconds = time.process_time() - start
        peak = peak_memory()
        print(json.dumps({"name": line.strip(), "outcome": ended, "seconds": seconds, "peak": peak}), flush=True)

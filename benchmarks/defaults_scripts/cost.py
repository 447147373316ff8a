"""Wall seconds, processor seconds and peak memory of one command, as JSON.

    python -m defaults_scripts.cost LOG COMMAND ...

A process of its own, and a small one: the peak that the system tells of a child includes its parent's memory at the
moment of the fork, so the benchmark itself, with torch in it, would be counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main(log: str, command: list[str]) -> int:
    start = time.perf_counter()
    with open(log, "ab") as stream:  # noqa: PTH123  # pathlib is half of this process
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        # Of the process and of those that it waited for (loaders); the peak is the largest one's.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cost = {
        "seconds": time.perf_counter() - start,
        "processor": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "status": process.returncode,
    }
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

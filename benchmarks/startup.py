"""Seconds to start: `import polysense` beside `import torch`, and `polysense --help`; the best of five, alternating.

python benchmarks/startup.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import torch, polysense": ["-c", "import torch, polysense"],
    "import polysense": ["-c", "import polysense"],
    "polysense --help": ["-m", "polysense", "--help"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(5):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    print(json.dumps({name: round(min(values), 2) for name, values in seconds.items()}))


if __name__ == "__main__":
    main()

"""Damaged media files and tables by the thousand: no crash, no hang, no memory above the limit, every failure listed.

Files of every format are changed and cut at random and read in processes of their own, which are ended where one takes
too long; four of five are media, the others tables. The figures go to standard output as JSON: how many were read and
refused, the longest time and the most memory that one took, and each failure with the seed that makes it again. Exits
with 1 if there is one.

    python benchmarks/fuzz_media.py --cells 10000 --seed 0
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HELPERS = Path(__file__).parents[1] / "tests" / "hostile" / "helpers"
SOURCES = Path(__file__).parents[1] / "src"
HANG_SECONDS = 60.0  # without a word of the process
MOST_SECONDS, MOST_MEGABYTES = 10.0, 400  # of one file
OF_EACH, FORMATS = 20, 49  # media files of each format in a process, and formats
TABLES = 200  # in a process
ADDRESS_SPACE = 4 * 2**30  # of a process that reads tables


def lines_of(command: Sequence[str], given: str = "") -> Iterator[dict[str, Any]]:
    """What a process writes, one JSON document a line; last how it ended, under `ended`."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given)
        process.stdin.close()
        heard: queue.Queue[str | None] = queue.Queue()
        output = process.stdout

        def listen() -> None:
            with output:
                for line in output:
                    heard.put(line)
            heard.put(None)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            while (line := heard.get(timeout=HANG_SECONDS)) is not None:
                if line.startswith("{"):
                    yield json.loads(line)
            code = process.wait()
        except queue.Empty:
            process.kill()
            process.wait()
            listener.join()
            yield {"ended": f"hangs: no word for {HANG_SECONDS:g} seconds"}
            return
        errors.seek(0)
        yield {"ended": f"ends the process with {code}: {errors.read()[-500:]}" if code else ""}


def media(num: int, seed: int, result: dict[str, Any]) -> None:
    """Reads mutated media files, at least so many."""
    outcomes: Counter[str] = Counter()
    while sum(outcomes.values()) < num:
        last: dict[str, Any] = {}
        of_each = min(OF_EACH, 1 + num // FORMATS)
        for line in lines_of([str(HELPERS / "mutated_media.py"), str(seed), str(of_each)]):
            where = {**last, "seed": seed}
            if line.get("ended"):
                result["failures"].append({**where, "what": line["ended"]})
                outcomes["failed"] += 1
            elif "name" in line:
                last = line
            elif "seconds" in line:
                note(result, where, line["seconds"], line["grown"])
                outcomes["read" if line["is_read"] else "refused"] += 1
        seed += 1
    result["media"] = dict(outcomes)


def tables(num: int, seed: int, result: dict[str, Any]) -> None:
    """Reads damaged tables, so many."""
    sys.path.insert(0, str(HELPERS))
    import broken_tables

    outcomes: Counter[str] = Counter()
    for start in range(0, num, TABLES):
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for i, (name, content) in enumerate(broken_tables.by_chance(min(TABLES, num - start), seed=seed + start)):
                names.append(str(Path(folder) / f"{i}_{name}"))
                Path(names[-1]).write_bytes(content)
            while names:
                done = 0
                for line in lines_of([str(HELPERS / "read_tables.py"), str(ADDRESS_SPACE)], "\n".join(names)):
                    where = {"name": Path(names[min(done, len(names) - 1)]).name, "seed": seed + start}
                    if "outcome" in line:
                        done += 1
                        note(result, where, line["seconds"], 0)
                        result["most_table_megabytes"] = max(result["most_table_megabytes"], line["peak"] >> 20)
                        kind = line["outcome"] if line["outcome"] in ("read", "refused") else "failed"
                        outcomes[kind] += 1
                        if kind == "failed":
                            result["failures"].append({**where, "what": line["outcome"]})
                    elif line.get("ended"):
                        done += 1
                        outcomes["failed"] += 1
                        result["failures"].append({**where, "what": line["ended"]})
                names = names[done:] if done else []
    result["tables"] = dict(outcomes)


def note(result: dict[str, Any], where: dict[str, Any], seconds: float, megabytes: int) -> None:
    """Takes what one file took, and lists it if that is too much."""
    result["most_seconds"] = max(result["most_seconds"], round(seconds, 3))
    result["most_megabytes_of_one"] = max(result["most_megabytes_of_one"], megabytes)
    if seconds > MOST_SECONDS or megabytes > MOST_MEGABYTES:
        result["failures"].append({**where, "what": f"took {seconds:.1f} s and {megabytes} MiB"})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000, help="files in all")
    parser.add_argument("--seed", type=int, default=0, help="of the first process; each further one has the next")
    options = parser.parse_args(argv)
    result: dict[str, Any] = {
        "most_seconds": 0.0, "most_megabytes_of_one": 0, "most_table_megabytes": 0, "failures": [],
    }  # fmt: skip
    num_tables = options.cells // 5
    tables(num_tables, options.seed, result)
    media(options.cells - num_tables, options.seed, result)
    print(json.dumps(result, indent=2))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())

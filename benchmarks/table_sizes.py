"""Time and memory of `check`, `train` (one epoch) and `predict` by a table's rows, and by its columns.

    python benchmarks/table_sizes.py --rows 1000 10000 100000 1000000 --columns 20 200 2000 --output table_sizes.json

Made tables: of two numbers, a category, a short text and a class; and of 500 rows of many numbers and a class. Each
command is a process of its own, of which the system tells the processor time and the peak memory. Of that, memory of
its own ("anonymous") is told apart from files that it has mapped (libraries, and the cells of a large table), which the
system takes back whenever it needs the room; it is looked up twenty times a second. What grows faster than rows or
columns is to be mended. `size_plot.py` draws what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

WORDS = np.array([
    "red", "green", "blue", "soft", "hard", "sweet", "sour", "fresh", "old", "new", "market", "garden", "river",
    "stone", "paper", "glass",
])  # fmt: skip
SETTINGS = [
    "training.epochs=1", "evaluation.bootstrap=20", "evaluation.contribution=false", "data.num_workers=0",
    "training.tensorboard=false",
]  # fmt: skip


def made_table(rows: int) -> pl.DataFrame:
    """Rows whose class depends on all four columns."""
    chance = np.random.default_rng(0)
    label = chance.integers(0, 3, rows)
    texts = WORDS[chance.integers(0, len(WORDS), (rows, 6))]
    texts[:, 0] = WORDS[(label * 5 + chance.integers(0, 6, rows)) % len(WORDS)]
    columns = {
        "price": np.round(chance.normal(label, 2.0), 2),
        "size": np.round(chance.lognormal(label / 4, 1.0), 3),
        "shop": np.array([f"shop {i}" for i in range(50)])[(chance.integers(0, 40, rows) + label * 5) % 50],
        "note": [" ".join(row) for row in texts],
        "label": np.array(["low", "middle", "high"])[label],
    }
    return pl.DataFrame(columns)


def made_wide_table(columns: int, rows: int = 500) -> pl.DataFrame:
    """Numbers, and a class that the first two decide."""
    values = np.round(np.random.default_rng(0).normal(size=(rows, columns)), 3)
    numbers = {f"x{i}": values[:, i] for i in range(columns)}
    return pl.DataFrame({**numbers, "label": np.array(["low", "high"])[(values[:, 0] + values[:, 1] > 0).astype(int)]})


def anonymous_bytes(process: int) -> int:
    """A process's memory that is no file's; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def measured(arguments: list[str]) -> dict[str, float]:
    """Wall seconds, processor seconds, peak bytes and peak bytes of anonymous memory of one command."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "polysense", *arguments], stdout=subprocess.DEVNULL, env=environment
    )
    ended, anonymous = 0, 0
    while not ended:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        anonymous = max(anonymous, anonymous_bytes(process.pid))
        time.sleep(0 if ended else 0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"polysense {' '.join(arguments)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "processor": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "anonymous": anonymous,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--columns", type=int, nargs="*", default=[])
    parser.add_argument("--commands", nargs="*", default=["check", "train", "predict"], help="predict needs train")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    tables = [("rows", number, made_table) for number in options.rows]
    tables += [("columns", number, made_wide_table) for number in options.columns]
    results = []
    for by, number, make in tables:
        folder = Path(tempfile.mkdtemp(prefix="table_sizes_"))
        table, run = str(folder / "table.csv"), str(folder / "run")
        make(number).write_csv(table)
        commands = {
            "check": ["check", table, "--target", "label"],
            "train": ["train", table, "--target", "label", "--preset", "fast", "-o", run, *SETTINGS],
            "predict": ["predict", run, table, "-o", str(folder / "predictions.csv")],
        }
        for name in options.commands:
            arguments = commands[name]
            result = {by: number, "command": name, **measured([*arguments, "-q"])}
            results.append(result)
            print(
                f"| {name} | {number:,} {by} | {result['processor']:.0f} s | {result['seconds']:.0f} s "
                f"| {result['peak'] / 2**30:.2f} GiB | {result['anonymous'] / 2**30:.2f} GiB anonymous |",
                flush=True,
            )
        shutil.rmtree(folder)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

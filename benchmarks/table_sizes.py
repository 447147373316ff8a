"""Time and memory of `check`, `train` (one epoch) and `predict` by a table's rows.

    python benchmarks/table_sizes.py --rows 10000 1000000 --output table_sizes.json

A made table of two numbers, a category, a short text and a class; each command is a process of its own, of which the
system tells the processor time and the peak memory. What grows faster than the rows is to be mended.
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


def measured(arguments: list[str]) -> dict[str, float]:
    """Wall seconds, processor seconds and peak bytes of one command."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "polysense", *arguments], stdout=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"polysense {' '.join(arguments)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "processor": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results = []
    for rows in options.rows:
        folder = Path(tempfile.mkdtemp(prefix="table_sizes_"))
        table, run = str(folder / "table.csv"), str(folder / "run")
        made_table(rows).write_csv(table)
        commands = {
            "check": ["check", table, "--target", "label"],
            "train": ["train", table, "--target", "label", "--preset", "fast", "-o", run, *SETTINGS],
            "predict": ["predict", run, table, "-o", str(folder / "predictions.csv")],
        }
        for name, arguments in commands.items():
            result = {"rows": rows, "command": name, **measured([*arguments, "-q"])}
            results.append(result)
            print(
                f"| {name} | {rows:,} | {result['processor']:.0f} s | {result['seconds']:.0f} s "
                f"| {result['peak'] / 2**30:.2f} GiB |",
                flush=True,
            )
        shutil.rmtree(folder)
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

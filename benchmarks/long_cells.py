"""One long cell in a table of short ones: what it costs in time and memory.

    python benchmarks/long_cells.py [--rows 500] [--times 100] [--epochs 4] [--out FOLDER]

A table of texts of about 40 words with a label that some words tell, and the same table with one text that is `times`
as long. Each is trained as it is by default, and with limits and grouping switched off (`max_tokens: null`,
`group_by_length: false`); in processes of their own, one after another. An epoch's time is the median of those after
the first, as a ratio to the table without the long cell; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

OFF = ["data.columns.note.max_tokens=null", "training.batching.group_by_length=false"]


def table(path: Path, rows: int, times: int) -> None:
    """Writes the texts, the last of which is `times` as long."""
    draw = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(400)])
    labels = draw.integers(0, 2, rows)
    notes = []
    for row in range(rows):
        length = int(draw.integers(20, 61)) * (times if row == rows - 1 else 1)
        chosen = words[draw.integers(0, 400, length)]
        chosen[draw.random(length) < 0.1] = ("good", "bad")[labels[row]]
        notes.append(" ".join(chosen))
    parts = ["validation" if row % 10 == 0 else "train" for row in range(rows)]  # the long one trains
    frame = pl.DataFrame({"note": notes, "label": [("yes", "no")[label] for label in labels], "split": parts})
    frame.write_parquet(path)


def train(path: Path, folder: Path, epochs: int, overrides: list[str]) -> dict[str, float]:
    """Seconds of an epoch and the process's peak in MiB."""
    command = [
        sys.executable, "-m", "polysense", "train", str(path), "--target", "label", "-o", str(folder),
        f"training.epochs={epochs}", "training.batch_size=32", "training.num_threads=1", "data.cache=memory",
        "evaluation.simple_baselines=false", "model.encoders.note={type: text_transformer}", *overrides,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    messages = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}:\n{messages[-2000:]}")
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ends = [each["seconds"] for each in map(json.loads, lines) if each["event"] == "epoch"]
    return {"epoch_seconds": statistics.median(np.diff(ends).tolist()), "peak_mib": usage.ru_maxrss / 1024}


def main() -> None:
    """Prints the ratios, and all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        short, long = folder / "short.parquet", folder / "long.parquet"
        table(short, options.rows, 1)
        table(long, options.rows, options.times)
        results = {}
        for name, path, overrides in (("short", short, []), ("long", long, []), ("long, no limits", long, OFF)):
            results[name] = train(path, folder / name.replace(", ", "_").replace(" ", "_"), options.epochs, overrides)
            ratios = {key: value / results["short"][key] for key, value in results[name].items()}
            print(
                f"{name:16} {results[name]['epoch_seconds']:7.2f} s an epoch ({ratios['epoch_seconds']:.2f} times), "
                f"{results[name]['peak_mib']:5.0f} MiB"
            )
        print(json.dumps(results))


if __name__ == "__main__":
    main()

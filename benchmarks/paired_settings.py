"""Settings of one table's training, compared over seeds: grouping by length, kinds of augmentation.

    python benchmarks/paired_settings.py TABLE --target LABEL --setting "NAME: OVERRIDE [OVERRIDE ...]" ...
        [--rows 2000] [--seeds 5] [--drop COLUMN ...] [OVERRIDES ...]

The first setting is what the others are compared with. Each is trained from the same seeds on the same rows and judged
on the test rows of the table's own `split` (validation rows where it has none); a difference is paired over the seeds,
with an interval by Student's t.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

import polysense
from polysense.core.json import read_json
from polysense.data.tables.sources import Table, read_table

METRICS = ("accuracy", "balanced_accuracy", "log_loss")
QUIET = [
    "training.tensorboard=false",
    "evaluation.report=false",
    "evaluation.simple_baselines=false",
    "evaluation.contribution=false",
    "evaluation.samples=0",
    "evaluation.bootstrap=0",
    "audit=off",
]


def measure(table: Table, target: str, overrides: list[str], seed: int) -> dict[str, float]:
    """One training's scores, and its processor seconds."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        polysense.fit(
            table,
            target=target,
            output=folder,
            overrides=[*QUIET, *overrides, f"training.seed={seed}"],
            progress=False,
        )
        parts = read_json(folder / "metrics.json", dict)
        scores = parts.get("test", parts.get("validation"))[target]
    result = {metric: float(scores[metric]["value"]) for metric in METRICS}
    return {**result, "seconds": time.process_time() - started}


def cells(values: list[dict[str, float]], first: list[dict[str, float]]) -> list[str]:
    """The means over seeds, and the gains with their intervals."""
    result = [f"{np.mean([each[key] for each in values]):.3f}" for key in METRICS]
    for key in ("accuracy", "log_loss"):
        gains = np.array([one[key] - other[key] for one, other in zip(values, first, strict=True)])
        half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else np.inf
        low, high = gains.mean() - half, gains.mean() + half
        result.append(f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})" if values is not first else "")
    return [*result, f"{np.mean([each['seconds'] for each in values]):.0f}"]


def main() -> None:
    """Prints a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--target", required=True)
    parser.add_argument("--setting", action="append", required=True)
    parser.add_argument("--rows", type=int, help="training rows, drawn at random")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--drop", action="append", default=[], help="columns that are left out")
    arguments, overrides = parser.parse_known_args()
    table = read_table(arguments.table)
    if arguments.rows is not None:
        training = np.flatnonzero((table.frame["split"] == "train").to_numpy())
        kept = np.random.default_rng(0).permutation(training)[: arguments.rows]
        table = table.select(np.sort(np.concatenate([kept, np.flatnonzero(table.frame["split"] != "train")])))
    table = replace(table, frame=table.frame.drop(arguments.drop))
    print(f"| setting | {' | '.join(METRICS)} | accuracy, gain | log loss, gain | s |")
    print("|" + " --- |" * (len(METRICS) + 4))
    first: list[dict[str, float]] = []
    for setting in arguments.setting:
        name, _, keys = setting.partition(": ")
        values = [
            measure(table, arguments.target, [*overrides, *keys.split()], seed) for seed in range(arguments.seeds)
        ]
        first = first or values
        print(f"| {' | '.join([name, *cells(values, first)])} |", flush=True)


if __name__ == "__main__":
    main()

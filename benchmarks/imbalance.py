"""Corrections of uneven classes, compared on one recipe: scores of its test rows over several seeds.

    python benchmarks/imbalance.py RECIPE TABLE TARGET [--rows 3000] [--seeds 5] [--only TEXT] [OVERRIDES ...]

Each is trained from the same seeds with a plain head; a difference to no correction is paired over the seeds, with an
interval by Student's t. `rare` is the mean recall of the classes with fewer than half as many training rows as if all
were even.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

import polysense
from polysense.core.json import read_json
from polysense.data.tables.sources import read_table

METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "ece")
HEADS = {
    "nothing": "",
    "class_weights: balanced": "class_weights: balanced",
    "class_weights: effective_number": "class_weights: effective_number",
    "loss: logit_adjusted": "loss: logit_adjusted",
    "logit_adjustment: 1 (after training)": "logit_adjustment: 1",
    "loss: focal": "loss: focal",
    "loss: ldam, weights from .8": "loss: ldam, class_weights: effective_number, class_weights_from: 0.8",
}
TRAINING = {
    "sampler: class_balanced": ["training.sampler=class_balanced"],
    "sampler: square_root": ["training.sampler=square_root"],
    "sampler: square_root, mixup: 0.2": ["training.sampler=square_root", "training.mixup=0.2"],
    "class_balanced and class_weights: balanced": ["training.sampler=class_balanced"],
}
QUIET = [
    "training.tensorboard=false",
    "evaluation.report=false",
    "evaluation.simple_baselines=false",
    "evaluation.contribution=false",
    "evaluation.samples=0",
    "evaluation.bootstrap=0",
    "audit=off",
]


def variants(target: str) -> dict[str, list[str]]:
    """Per name its overrides."""

    def head(keys: str) -> str:
        return f"model.heads.{target}={{type: classification{', ' if keys else ''}{keys}}}"

    result = {name: [head(keys)] for name, keys in HEADS.items()}
    for name, keys in TRAINING.items():
        result[name] = [head("class_weights: balanced" if "class_weights" in name else ""), *keys]
    return result


def measure(recipe: str, rows: pl.DataFrame, target: str, overrides: list[str], seed: int) -> dict[str, float]:
    """One training's scores of the test rows, and its processor seconds."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        run = polysense.fit(
            recipe, data=rows, output=folder, overrides=[*QUIET, *overrides, f"training.seed={seed}"], progress=False
        )
        scores = read_json(folder / "metrics.json", dict)["test"][target]
        record, test = run.bundle.schema.target(target), rows.filter(pl.col("split") == "test")
        predicted = run.bundle.predict(test.drop(target)).frame[target]
    counts = dict(zip(record.classes, record.class_counts, strict=True))
    rare = [each for each, count in counts.items() if count < sum(counts.values()) / len(counts) / 2]
    recalls = [(predicted.filter(test[target] == each) == each).mean() for each in rare]
    result = {metric: float(scores[metric]["value"]) for metric in METRICS}
    return {**result, "rare": float(np.mean(recalls)), "seconds": time.process_time() - started}


def line(name: str, values: list[dict[str, float]], plain: list[dict[str, float]]) -> str:
    """A row of the table: means over seeds, and the gains in balanced accuracy and macro F1 with their intervals."""
    cells = [f"{np.mean([each[key] for each in values]):.3f}" for key in (*METRICS, "rare")]
    for key in ("balanced_accuracy", "f1_macro"):
        gains = np.array([one[key] - other[key] for one, other in zip(values, plain, strict=True)])
        if len(gains) > 1 and gains.any():
            half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
            cells.append(f"{gains.mean():+.3f} ({gains.mean() - half:+.3f} to {gains.mean() + half:+.3f})")
        else:
            cells.append("")
    return f"| {' | '.join([name, *cells])} | {np.mean([each['seconds'] for each in values]):.0f} |"


def main() -> None:
    """Prints a line for each correction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("table", help="with a column `split` of train, val and test")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, help="training rows, drawn at random")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="corrections whose name contains one of these")
    arguments, overrides = parser.parse_known_args()
    rows = read_table(arguments.table).frame
    if arguments.rows is not None:
        train = rows.filter(pl.col("split") == "train").sample(arguments.rows, seed=0)
        rows = pl.concat([train, rows.filter(pl.col("split") != "train")])
    plain: list[dict[str, float]] = []
    print(f"| correction | {' | '.join([*METRICS, 'rare'])} | balanced accuracy, gain | F1 macro, gain | s |")
    print("|" + " --- |" * (len(METRICS) + 5))
    for name, keys in variants(arguments.target).items():
        if plain and arguments.only and not any(text in name for text in arguments.only):
            continue
        seeds = range(arguments.seeds)
        values = [measure(arguments.recipe, rows, arguments.target, [*overrides, *keys], seed) for seed in seeds]
        plain = plain or values
        print(line(name, values, plain), flush=True)


if __name__ == "__main__":
    main()

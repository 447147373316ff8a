"""Strategies of active learning on real tables, and the time that they take.

    python benchmarks/label_strategies.py DATA WEIGHTS [--only NAME] [--seeds 5] [--output FOLDER]
    python benchmarks/label_strategies.py --time [--rows 50000] [--size 512]

DATA holds the tables' folders (esc10, grocery, avdigits, imu_digits, meld; those that are not there are left out).
WEIGHTS holds models' folders (whisper-tiny-en, mobilenet_v2_hf, all-MiniLM-L6-v2); a column without one has the feature
vectors of preprocessing alone. It is `polysense label TABLE --simulate` with what is said of each table below: labels
needed for 90% of the full score, and the area under the learning curve beside that of random rows, with paired
intervals over tested rows (meld: dialogues) and seeds. A row of a table in Markdown for each strategy.

`--time`: processor seconds of one thread (OMP_NUM_THREADS=1) to take in new labels, and to choose 100 rows, over made
features.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysense.config.base import members
from polysense.reports.label_curves import labels_text
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.simulate import simulate_labeling
from polysense.workflows.labeling.strategies.base import strategy_named

__all__ = ["TRIALS", "Trial"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A table, and how it is read.

    Attributes:
        table: Its file.
        target: The column of labels.
        ignored: Columns that are no inputs.
        weights: The model's folder; None: feature vectors of preprocessing alone.
        overrides: Of the recipe.
    """

    table: str
    target: str
    ignored: tuple[str, ...]
    weights: str | None = None
    overrides: tuple[str, ...] = ()


TRIALS = (
    Trial(
        table="esc10/data.csv", target="label", ignored=("fold", "clip_id", "seconds", "rms"),
        weights="whisper-tiny-en",
    ),
    Trial(
        table="grocery/data.csv", target="label", ignored=("coarse", "group", "class_id", "coarse_id"),
        weights="mobilenet_v2_hf",
    ),
    Trial(table="avdigits/data.csv", target="label", ignored=("image", "speaker", "recording_index")),
    Trial(table="imu_digits/data.csv", target="label", ignored=("recorded", "n_steps", "seconds")),
    Trial(
        table="meld/data.jsonl", target="emotion",
        ignored=("turn", "speaker", "sentiment", "season", "episode", "start", "end"), weights="all-MiniLM-L6-v2",
        overrides=("data.split={type: column, column: split, group: dialogue_id}",),
    ),
)  # fmt: skip


def measure(data: Path, weights: Path, only: str | None, seeds: int, output: Path | None) -> None:
    """Prints a table's rows in Markdown."""
    print("| table, metric | strategy | labels for 90% (95% CI) | area | difference from random rows (95% CI) | |")
    print("|---|---|---|---|---|---|")
    for trial in TRIALS:
        path, name = data / trial.table, trial.table.partition("/")[0]
        if not path.exists() or (only is not None and only != name):
            continue
        start = time.process_time()
        result = simulate_labeling(
            path,
            target=trial.target,
            columns=dict.fromkeys(trial.ignored, "ignored"),
            pretrained="off" if trial.weights is None else weights / trial.weights,
            overrides=trial.overrides,
            seeds=seeds,
        )
        measured = result.measured
        for curve in measured.curves:
            gain = curve.gain
            words = "" if gain is None else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            print(
                f"| {name}, {measured.metric_name} | {curve.strategy} | {labels_text(curve.labels_needed, measured)} | "
                f"{curve.area.value:.3f} | {words} | {curve.outcome or ''} |",
                flush=True,
            )
        for remark in measured.remarks():
            print(f"    {remark}")
        print(f"    {time.process_time() - start:.0f} s of processor time", flush=True)
        if output is not None:
            result.write(output / name)


def measure_time(num_rows: int, size: int, num_classes: int = 10) -> None:
    """Prints seconds by the number of labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, num_classes, num_rows)
    centers = 0.2 * generator.normal(size=(num_classes, size))
    features = (centers[labels] + generator.normal(size=(num_rows, size))).astype(np.float32)
    start = time.process_time()
    learner = Learner(features, num_outputs=num_classes)
    _ = learner.features.copies
    print(f"{num_rows:,} rows x {size} features scaled once: {time.process_time() - start:.2f} s")
    names = list(members("strategy"))
    print(f"| labels | update, penalty chosen anew | update | {' | '.join(names)} |")
    print("|---" * (3 + len(names)) + "|")
    order = generator.permutation(num_rows)
    for number in (each for each in (0, 100, 1_000, 5_000) if each < num_rows):
        seconds = []
        for rows in (order[:number], order[:1]):
            start = time.process_time()
            learner.update(rows[:number], labels[rows[:number]])
            learner.scores()
            seconds.append(time.process_time() - start)
        unlabeled = np.flatnonzero(~learner.is_labeled)
        for name in names:
            start = time.process_time()
            strategy_named(name).choose(learner, unlabeled, 100, np.random.default_rng(0))
            seconds.append(time.process_time() - start)
        print(f"| {number:,} | {' | '.join(f'{each:.2f}' for each in seconds)} |", flush=True)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--only")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    if arguments.time:
        measure_time(arguments.rows, arguments.size)
    elif arguments.data is None or arguments.weights is None:
        parser.error("name the folders DATA and WEIGHTS, or --time")
    else:
        measure(arguments.data, arguments.weights, arguments.only, arguments.seeds, arguments.output)


if __name__ == "__main__":
    main()

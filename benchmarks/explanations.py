"""How good explanations of a trained model are: their own tests over many rows, and the time that they take.

    python benchmarks/explanations.py RUN TABLE [--rows 50] [--parts 36] [--pairs 4]

Per target and column with maps: how often the map holds (the explained number falls sooner when the strongest parts go
first, and later when they go last, than in random orders), and the mean areas with 95% bootstrap intervals over rows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import polysense
from polysense.evaluation.explanation import ExplanationOptions


def main() -> None:
    """Explains a sample of rows and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder, or a bundle")
    parser.add_argument("table", type=Path, help="rows that the model was not trained on")
    parser.add_argument("--rows", type=int, default=50, help="how many are explained, a fixed sample")
    parser.add_argument("--parts", type=int, default=36, help="parts of a cell, at most")
    parser.add_argument("--pairs", type=int, default=4, help="orders of removal, each with its reverse")
    arguments = parser.parse_args()
    bundle = polysense.load(arguments.run)
    table = polysense.read_table(arguments.table)
    generator = np.random.default_rng(0)
    chosen = np.sort(generator.permutation(len(table))[: arguments.rows]).tolist()
    options = ExplanationOptions(parts=arguments.parts, pairs=arguments.pairs)
    start = time.perf_counter()
    rows = bundle.explain(table, chosen, options=options)
    seconds = time.perf_counter() - start
    print(f"{len(rows)} rows, {seconds / len(rows):.2f} s each\n")
    print("| target | column | maps | hold | strongest first | random | strongest last | random less strongest first |")
    print("|---|---|---|---|---|---|---|---|")
    for target in bundle.schema.targets:
        for column in bundle.schema.columns:
            tests = [
                each.map.test
                for row in rows
                for explained in row.targets
                if explained.target == target.name
                for each in explained.columns
                if each.name == column.name and each.map is not None and each.map.test is not None
            ]
            if not tests:
                continue
            areas = np.array([[test.deletion, test.random, test.insertion] for test in tests])
            gains = areas[:, 1] - areas[:, 0]
            drawn = gains[generator.integers(0, len(gains), (2000, len(gains)))].mean(axis=1)
            low, high = np.quantile(drawn, [0.025, 0.975])
            means = " | ".join(f"{mean:.3f}" for mean in areas.mean(axis=0))
            hold = sum(test.holds for test in tests)
            print(
                f"| {target.name} | {column.name} | {len(tests)} | {hold} | {means} "
                f"| {gains.mean():+.3f} ({low:+.3f} to {high:+.3f}) |"
            )


if __name__ == "__main__":
    main()

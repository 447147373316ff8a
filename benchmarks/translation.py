"""A toy translation, from English to Greek: writes its table and, if asked, learns it.

    python benchmarks/translation.py runs/greek                    # the table alone
    python benchmarks/translation.py runs/greek --rows 3000 --train training.epochs=12 model.width=64

The test split's numbers occur with no noun in training (see toys.translation). BLEU, chrF and exact
match are set beside the same model with its inputs dealt to other rows: what someone who reads no English gets.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import polysense
from toys.translation import make_translation

_METRICS = ("bleu", "chrf", "exact_match", "token_accuracy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets translation.csv, and with --train the folder run")
    parser.add_argument("--rows", type=int, default=5000, help="distinct pairs in all splits together")
    parser.add_argument("--seed", type=int, default=0, help="of the phrases and of the training")
    parser.add_argument(
        "--train", nargs="*", metavar="KEY=VALUE", help="train too, with these keys of the recipe changed"
    )
    requested = parser.parse_args()
    table = make_translation(requested.folder, seed=requested.seed, num_rows=requested.rows)
    if requested.train is None:
        sys.stdout.write(f"wrote {table}; train on it:  polysense train {table} --target greek\n")
        return 0
    started = time.perf_counter()
    run = polysense.fit(
        table,
        target="greek",
        output=requested.folder / "run",
        overrides=[f"training.seed={requested.seed}", "data.transforms={}", *requested.train],
    )
    found = {"this model": run.evaluations["test"], **run.baselines["test"]}
    scores = {
        name: {metric: round(one.value("greek", metric), 4) for metric in _METRICS if metric in one.metrics["greek"]}
        for name, one in found.items()
    }
    result = {
        "rows": requested.rows,
        "seed": requested.seed,
        "seconds": round(time.perf_counter() - started),
        "test": scores,
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

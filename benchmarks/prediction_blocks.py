"""What exact rows cost: prediction in blocks of several sizes, against rows that are computed as they come.

    python benchmarks/prediction_blocks.py [--rows 512] [--rounds 5]

A mixed table (a text, an image, three numbers, a category; a fifth of the cells missing) and a model with random
weights. Three requests: the whole table, one row, and the whole table without its image and its text. Every round
measures all settings after one another; each one's ratio to `exact=false` with batches of 32 is taken in the round, and
the median round is printed. CPU time of one thread, so that other programs count little. Cells are decoded beforehand.

The last column counts the rows whose prediction is not the same to the last bit in a request of its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from polysense.bundle import Bundle
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import read_table
from polysense.workflows.fitted_data import fit_data
from polysense.workflows.prepare import prepare

SETTINGS = {
    "as they come, 32": PredictionConfig(exact=False, block_size=32),
    "as they come, 8": PredictionConfig(exact=False, block_size=8),
    **{f"blocks of {size}": PredictionConfig(block_size=size) for size in (1, 32, 64, 128, 256)},
}
BASE = "as they come, 32"
CHECKED = 24


def make_rows(folder: Path, number: int) -> list[dict[str, Any]]:
    """Rows with what a model of moderate size reads."""
    generator = np.random.default_rng(0)
    for index in range(40):
        Image.fromarray(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    words = [f"word{index}" for index in range(500)]
    rows = []
    for index in range(number):
        row: dict[str, Any] = {
            "note": " ".join(generator.choice(words, int(generator.integers(5, 40)))),
            "photo": f"{index % 40}.png",
            "place": str(generator.choice(["north", "south", "east", "west"])),
            **{f"x{i}": float(generator.standard_normal()) for i in range(3)},
        }
        row = {name: None if generator.random() < 0.2 else cell for name, cell in row.items()}
        rows.append({**row, "label": "ab"[index % 2]})
    return rows


def make_bundle(rows: list[dict[str, Any]], folder: Path) -> Bundle:
    """A model as `fit` builds it, not trained."""
    table = read_table(rows, root=folder)
    recipe = prepare(table, target="label").recipe
    data = fit_data(recipe, {"train": table})
    torch.manual_seed(0)
    return Bundle(data.processor, recipe.model.build(data.processor.schema).eval(), recipe.model)


def seconds(bundle: Bundle, dataset: TableDataset) -> float:
    """CPU time of predicting a data set."""
    start = time.process_time()
    for batch in bundle.batches(dataset):
        bundle.model.predict(batch)
    return time.process_time() - start


def changed_rows(bundle: Bundle, rows: Sequence[dict[str, Any]], folder: Path) -> int:
    """Rows whose prediction changes when they are predicted alone."""
    together = bundle.predict(list(rows), root=folder).frame.rows()
    alone = [bundle.predict([row], root=folder).frame.row(0) for row in rows]
    return sum(one != other for one, other in zip(together, alone, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make_rows(folder, arguments.rows)
        bundle = make_bundle(rows, folder)
        few = [{key: cell for key, cell in row.items() if key not in ("note", "photo")} for row in rows]
        requests = {"table": rows, "one row": rows[:1], "table without note and photo": few}
        datasets = {
            key: TableDataset(read_table(cells, root=folder), bundle.processor, with_targets=False, cache_bytes=2**31)
            for key, cells in requests.items()
        }
        for dataset in datasets.values():
            dataset.__getitems__(range(len(dataset)))
        ratios: dict[tuple[str, str], list[float]] = {}
        times: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            for request, dataset in datasets.items():
                repeats = 20 if len(dataset) == 1 else 1
                own = {}
                for setting, config in SETTINGS.items():
                    bundle.prediction = config
                    own[setting] = sum(seconds(bundle, dataset) for _ in range(repeats)) / repeats
                times.setdefault(request, []).append(own[BASE])
                for setting, value in own.items():
                    ratios.setdefault((setting, request), []).append(value / own[BASE])
        milliseconds = ", ".join(f"{key} {1e3 * statistics.median(each):.1f} ms" for key, each in times.items())
        print(f"{BASE}: {milliseconds}")
        print(f"| setting | {' | '.join(requests)} | rows of {CHECKED} that differ alone |")
        print(f"|---|{'---|' * (len(requests) + 1)}")
        for setting, config in SETTINGS.items():
            bundle.prediction = config
            each = " | ".join(f"{statistics.median(ratios[setting, request]):.2f}" for request in requests)
            print(f"| {setting} | {each} | {changed_rows(bundle, rows[:CHECKED], folder)} |")


if __name__ == "__main__":
    main()

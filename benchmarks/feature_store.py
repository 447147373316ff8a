"""Frozen features once: epochs over a frozen encoder with the store, filling included, against computing them anew.

    python benchmarks/feature_store.py DIR/esc10/data.csv --target label --column audio --modality audio \\
        --path WEIGHTS/whisper-tiny-en [--rows 100] [--epochs 10] [--live-epochs 1]

One run of one thread each, on the same rows: with an empty store, with the store that this run left, and without one.
Seconds are CPU time of the whole call (preprocessing, filling, training with its validations, evaluation), for others
may use the machine. Of the run without a store, one of a few epochs and one of an epoch more tell what an epoch costs,
and those that are missing count that. Weights that were trained with and without the store are compared bit by bit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

import polysense


def trained(arguments: argparse.Namespace, folder: Path, store: str, epochs: int) -> tuple[polysense.Run, float]:
    """A run and the seconds that it took."""
    table = polysense.read_table(arguments.table)
    if arguments.rows is not None:
        step = max(1, len(table) // arguments.rows)
        table = table.select(range(0, step * min(arguments.rows, len(table)), step))
    start = time.process_time()
    run = polysense.fit(
        table,
        target=arguments.target,
        columns={arguments.column: arguments.modality, **dict.fromkeys(arguments.ignored, "ignored")},
        output=folder,
        overrides=[
            f"model.encoders.{arguments.column}={{type: pretrained, path: {arguments.path.resolve()}, layers: last}}",
            f"training.epochs={epochs}", "training.early_stopping=null", "training.num_threads=1",
            "evaluation.baselines=false", "evaluation.report=false", "evaluation.contribution=false",
            "data.transforms={}", "data.split={type: fraction, validation: 0.15, test: 0.15}", f"data.store={store}",
        ],
        progress=False,
    )  # fmt: skip
    return run, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--modality", required=True)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--ignored", nargs="*", default=())
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--live-epochs", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POLYSENSE_CACHE"] = f"{folder}/cache"
        _, filled = trained(arguments, Path(folder) / "filled", "auto", arguments.epochs)
        _, found = trained(arguments, Path(folder) / "found", "auto", arguments.epochs)
        live, seconds = trained(arguments, Path(folder) / "live", "off", arguments.live_epochs)
        _, more = trained(arguments, Path(folder) / "more", "off", arguments.live_epochs + 1)
        again, _ = trained(arguments, Path(folder) / "again", "auto", arguments.live_epochs)
        whole = seconds + (more - seconds) * (arguments.epochs - arguments.live_epochs)
        one, other = (load_file(run.folder / "bundle" / "weights.safetensors") for run in (live, again))
        same = all(torch.equal(one[name], other[name]) for name in one)
    print("| run | s | times |\n| --- | --- | --- |")
    print(f"| {arguments.epochs} epochs without a store | {whole:.0f} | 1.0 |")
    print(f"| with an empty store, filling included | {filled:.0f} | {whole / filled:.1f} |")
    print(f"| with the store that it left | {found:.0f} | {whole / found:.1f} |")
    print(f"weights are {'equal, bit by bit' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main()

"""What polysense's loop and loader cost over a loop written by hand, with the same model in one run.

    python benchmarks/step_overhead.py DIR [--rounds 5] [--epochs 2]        # DIR made by mixed_table.py make

1. `step`: the same model on the same batches, by a hand-written loop (fused AdamW, gradient clipping) and by the
   Trainer with all of its callbacks: the steps alone, without start-up and checkpoints.
2. `files`: the same model trained from the files, by a hand-written Dataset and DataLoader and by polysense, with 0 and
   with 2 workers: everything, checkpoints too.

Both sides alternate; the ratio of each pair is taken, and the median pair is printed. One thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from polysense.core.batch import Batch, ColumnBatch, ValueTruth
from polysense.data.batches.dataset import TableDataset, choose_workers
from polysense.data.batches.loader import TrainLoader
from polysense.data.processor import Processor
from polysense.nn.model import MultimodalModel
from polysense.nn.model_config import ModelConfig
from polysense.recipe import Recipe
from polysense.training.config import TrainingConfig
from polysense.training.trainer import Trainer
from polysense.workflows.prepare import prepare

IGNORED = {"note": "ignored", "weight": "ignored", "region": "ignored"}


class Repeated:
    """Batches that are there already, as a loader."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches

    def num_batches(self, epoch: int) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        return iter(self.batches[start_step:])


class Files(Dataset[tuple[np.ndarray, np.ndarray, int]]):
    """What a practitioner writes: open the picture, read the sound."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = list(csv.DictReader((folder / "train.csv").read_text("utf-8").splitlines()))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        row = self.rows[index]
        image = np.array(Image.open(self.folder / row["picture"]), dtype=np.uint8)
        wave, _ = soundfile.read(self.folder / row["speech"], dtype="int16")
        return image, wave, int(row["label"])


def collate(samples: list[tuple[np.ndarray, np.ndarray, int]]) -> Batch:
    """The hand-written side's batch, in the type that the model takes."""
    longest = -(-max(len(wave) for _, wave, _ in samples) // 400) * 400
    waves = np.zeros((len(samples), 1, longest), dtype=np.int16)
    for row, (_, wave, _) in enumerate(samples):
        waves[row, 0, : len(wave)] = wave
    images = np.stack([image for image, _, _ in samples])[:, None, None]
    ones = torch.ones(len(samples), 1, dtype=torch.int64)
    return Batch(
        rows=torch.arange(len(samples)),
        columns={
            "picture": ColumnBatch(values=torch.from_numpy(images), lengths=ones),
            "speech": ColumnBatch(
                values=torch.from_numpy(waves), lengths=torch.tensor([[len(wave)] for _, wave, _ in samples])
            ),
        },
        truths={
            "label": ValueTruth(
                values=torch.tensor([label for _, _, label in samples]), present=torch.ones(len(samples)).bool()
            )
        },
    )


def by_hand(model: MultimodalModel, epochs: Callable[[int], Any], num_epochs: int) -> float:
    """Seconds of a hand-written loop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    model.train()
    started = time.perf_counter()
    for epoch in range(num_epochs):
        for batch in epochs(epoch):
            losses, weights = model(batch).losses, model.loss_weights
            means = [weights[name] * loss.total.sum() / loss.count.sum().clamp(min=1) for name, loss in losses.items()]
            torch.stack(means).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def by_trainer(model: MultimodalModel, loader: Any, num_epochs: int, num_rows: int | None = None) -> float:
    """Seconds of the Trainer, callbacks included; of its steps alone where `num_rows` (of an epoch) is given."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(epochs=num_epochs, num_threads=1)
        trainer = Trainer(config, model, loader, folder=Path(folder))
        started = time.perf_counter()
        result = trainer.fit()
        if num_rows is not None:
            return num_epochs * num_rows / result.samples_per_second
        return time.perf_counter() - started


def compare(name: str, pairs: list[tuple[float, float]], steps: int) -> None:
    ratios = [ours / theirs for theirs, ours in pairs]
    theirs, ours = (statistics.median(side) * 1e3 / steps for side in zip(*pairs, strict=True))
    print(
        json.dumps(
            {
                "comparison": name,
                "ratio_median": round(statistics.median(ratios), 3),
                "ratio_min": round(min(ratios), 3),
                "ratio_max": round(max(ratios), 3),
                "hand_written_ms_per_step": round(theirs, 2),
                "polysense_ms_per_step": round(ours, 2),
                "rounds": len(pairs),
            }
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    logging.getLogger("polysense").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    prepared = prepare(options.folder / "train.csv", target="label", columns=IGNORED)
    recipe: Recipe = prepared.recipe
    processor = Processor.fit(prepared.table, recipe.data)
    model_config: ModelConfig = recipe.model

    def fresh() -> MultimodalModel:
        torch.manual_seed(0)
        return model_config.build(processor.schema)

    dataset = TableDataset(prepared.table, processor, cache_bytes=2**30)
    batches = list(TrainLoader(dataset, processor.schema, 32, 0).epoch(0))
    by_hand(fresh(), lambda _: batches, 1)  # oneDNN builds its kernels once per shape
    pairs = []
    for _ in range(options.rounds):
        theirs = by_hand(fresh(), lambda _: batches, options.epochs)
        pairs.append((theirs, by_trainer(fresh(), Repeated(batches), options.epochs, len(dataset))))
    compare("step", pairs, options.epochs * len(batches))

    for workers in (0, 2):
        pairs = []
        for _ in range(options.rounds):
            loader = DataLoader(
                Files(options.folder),
                batch_size=32,
                shuffle=True,
                num_workers=workers,
                collate_fn=collate,
                persistent_workers=workers > 0,
            )
            theirs = by_hand(fresh(), lambda _, loader=loader: loader, options.epochs)
            dataset = TableDataset(prepared.table, processor)
            _, dataset.cache_bytes = choose_workers(dataset, 2)
            with TrainLoader(dataset, processor.schema, 32, 0, num_workers=workers) as ours:
                pairs.append((theirs, by_trainer(fresh(), ours, options.epochs)))
        compare(f"files, {workers} workers", pairs, options.epochs * len(batches))


if __name__ == "__main__":
    main()

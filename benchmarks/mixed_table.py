"""A table of five mixed columns, and the loop that a practitioner would write by hand to train on it.

The idea: polysense must earn its place against plain PyTorch. The table holds a degraded picture of a
handwritten digit, noisy speech of voices that the test split doesn't share, a note that half of the rows lack, and two
columns, a number and a category, that say little about the label. The hand-written loop below is the one to beat: in
accuracy, in seconds, in memory. It prints one line of JSON.

    python benchmarks/mixed_table.py make DIR                  # train.csv (1,258 rows), test.csv (539 rows), media
    python benchmarks/mixed_table.py handwritten DIR           # [--threads 1] [--epochs 10] [--seed 0]
    python benchmarks/mixed_table.py polysense DIR             # [--threads 1] [--seed 0] [a.b.c=value ...]

Seconds are those of the whole process after `import torch`, decoding included; samples/s are of the training epochs
alone; the peak RSS is the whole process's.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

NUM_TRAIN = 1258
CATEGORIES = ("north", "east", "south", "west", "center")


def make(folder: Path, seed: int = 0) -> None:
    """Writes train.csv and test.csv with the columns picture, speech, note, weight, region and label."""
    from polysense.core import random
    from polysense.data.demo.assets import read_digits, read_speech
    from polysense.data.demo.degrade import degrade_image, degrade_speech
    from polysense.data.demo.notes import write_note

    images, labels = read_digits()
    speech = read_speech()
    for name in ("picture", "speech"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    order = random.permutation(len(images), seed, "mixed rows")
    train_voices = random.permutation(len(speech.voices), seed, "mixed voices")[: round(0.7 * len(speech.voices))]
    in_train = np.isin(speech.voice, train_voices)
    tables: dict[str, list[list[object]]] = {"train": [], "test": []}
    for row, index in enumerate(order):
        split = "train" if row < NUM_TRAIN else "test"
        label = int(labels[index])
        draws = random.generator(seed, "mixed", row)
        image = degrade_image(images[index], draws, blur=1.0, erase=(16, 19), noise=75.0)
        Image.fromarray(image).save(folder / "picture" / f"{row:04d}.png")
        fitting = np.flatnonzero((speech.digit == label) & (in_train == (split == "train")))
        wave = degrade_speech(speech.wave(int(draws.choice(fitting))), draws, snr=(-13.0, -1.0))
        soundfile.write(folder / "speech" / f"{row:04d}.wav", wave, speech.sample_rate, subtype="PCM_16")
        note = write_note(label, draws) if draws.random() < 0.5 else ""
        weight = round(float(draws.normal(50.0 + 2.0 * label, 20.0)), 1)
        region = CATEGORIES[label // 2 if draws.random() < 0.15 else int(draws.integers(len(CATEGORIES)))]
        tables[split].append([f"picture/{row:04d}.png", f"speech/{row:04d}.wav", note, weight, region, label])
    for split, rows in tables.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["picture", "speech", "note", "weight", "region", "label"], *rows])


def handwritten(folder: Path, *, threads: int = 1, epochs: int = 10, seed: int = 0) -> dict[str, Any]:
    """Trains on train.csv and tests on test.csv, with nothing but torch; the body is what the user would write."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    started = time.perf_counter()
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rate, num_fft, hop, num_mels, num_frames = 8000, 256, 128, 40, 64

    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = torch.tensor(700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1), dtype=torch.float32)
    bins = torch.linspace(0, rate / 2, num_fft // 2 + 1)[:, None]
    mel_bank = torch.minimum(
        (bins - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    )
    mel_bank = mel_bank.clamp(min=0)

    def log_mel(path: Path) -> Tensor:
        wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        spectrum = torch.stft(wave, num_fft, hop, window=torch.hann_window(num_fft), return_complex=True).abs() ** 2
        mel = (spectrum.T @ mel_bank + 1e-6).log()
        mel = (mel - mel.mean()) / mel.std()
        return functional.pad(mel, (0, 0, 0, max(0, num_frames - len(mel))))[:num_frames].T

    tables = {
        name: list(csv.DictReader((folder / f"{name}.csv").read_text("utf-8").splitlines()))
        for name in ("train", "test")
    }
    words = [word for row in tables["train"] for word in row["note"].lower().split()]
    vocabulary = {word: index + 1 for index, word in enumerate(sorted(set(words)))}
    regions = {region: index + 1 for index, region in enumerate(sorted({row["region"] for row in tables["train"]}))}
    weights = np.array([float(row["weight"] or 0) for row in tables["train"]])

    def read(rows: list[dict[str, str]]) -> list[Tensor]:
        image, mel, note = torch.zeros(len(rows), 1, 28, 28), torch.zeros(len(rows), 1, num_mels, num_frames), []
        for i, row in enumerate(rows):
            if row["picture"]:
                image[i, 0] = torch.from_numpy(np.array(Image.open(folder / row["picture"]), np.float32)) / 255
            if row["speech"]:
                mel[i, 0] = log_mel(folder / row["speech"])
            note.append([vocabulary.get(word, 0) for word in row["note"].lower().split()][:16] or [0])
        weight = [(float(row["weight"] or weights.mean()) - weights.mean()) / (weights.std() + 1e-6) for row in rows]
        note_ids = torch.tensor([ids + [0] * (16 - len(ids)) for ids in note])
        region = torch.tensor([regions.get(row["region"], 0) for row in rows])
        label = torch.tensor([int(row["label"]) for row in rows])
        return [image, mel, note_ids, torch.tensor(weight, dtype=torch.float32)[:, None], region, label]

    def cnn(*widths: int) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for before, after in zip((1, *widths), widths, strict=False):
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*blocks)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Sequential(cnn(16, 32), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 7 * 7, 64), nn.ReLU())
            self.speech = nn.Sequential(
                cnn(16, 32, 32), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 5 * 8, 64), nn.ReLU()
            )
            self.note = nn.EmbeddingBag(len(vocabulary) + 1, 64, padding_idx=0)
            self.weight = nn.Linear(1, 16)
            self.region = nn.Embedding(len(regions) + 1, 16)
            self.head = nn.Sequential(nn.Linear(64 * 3 + 32, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))

        def forward(self, image: Tensor, speech: Tensor, note: Tensor, weight: Tensor, region: Tensor) -> Tensor:
            parts = [
                self.image(image),
                self.speech(speech),
                self.note(note),
                self.weight(weight),
                self.region(region),
            ]
            return self.head(torch.cat(parts, dim=1))  # type: ignore[no-any-return]

    train, test = read(tables["train"]), read(tables["test"])
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    training = time.perf_counter()
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(train[-1])).split(32):  # type: ignore[no-untyped-call]
            *inputs, label = (column[rows] for column in train)
            loss = functional.cross_entropy(net(*inputs), label)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    ended = time.perf_counter()
    net.eval()
    with torch.no_grad():
        batches = zip(*(torch.split(column, 64) for column in test[:-1]), strict=True)
        parts = [net(*batch).argmax(dim=1) for batch in batches]
        accuracy = (torch.cat(parts) == test[-1]).float().mean().item()
    return {
        "test_accuracy": round(accuracy, 4),
        "seconds": round(time.perf_counter() - started, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "samples_per_second": round(epochs * len(train[-1]) / (ended - training), 1),
        "num_parameters": sum(parameter.numel() for parameter in net.parameters()),
        "threads": threads,
        "epochs": epochs,
        "seed": seed,
    }


def with_polysense(
    folder: Path, *, threads: int = 1, seed: int = 0, overrides: list[str] | None = None
) -> dict[str, Any]:
    """Trains on train.csv at polysense's defaults and tests on test.csv; the same figures as `handwritten`."""
    import tempfile

    import torch

    import polysense

    started = time.perf_counter()
    torch.set_num_threads(threads)
    changes = [f"training.seed={seed}", *(overrides or [])]
    with tempfile.TemporaryDirectory() as output:
        run = polysense.fit(
            folder / "train.csv", target="label", output=Path(output) / "run", overrides=changes, progress=False
        )
        scores = polysense.evaluate(run.bundle, folder / "test.csv", bootstrap=0)
    return {
        "test_accuracy": round(scores.metrics["label"]["accuracy"]["value"], 4),
        "seconds": round(time.perf_counter() - started, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "samples_per_second": round(run.training.samples_per_second, 1),
        "num_parameters": run.bundle.info["parameters"],
        "threads": threads,
        "epochs": run.training.epochs,
        "seed": seed,
        "says": None if run.contributions is None else run.contributions.summary_sentence(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("make", help="write the table")
    command.add_argument("folder", type=Path)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("handwritten", help="train the hand-written loop")
    command.add_argument("folder", type=Path)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--epochs", type=int, default=10)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("polysense", help="train polysense at its defaults")
    command.add_argument("folder", type=Path)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("overrides", nargs="*", help="a.b.c=value")
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.seed)
        return
    if options.command == "handwritten":
        result = handwritten(options.folder, threads=options.threads, epochs=options.epochs, seed=options.seed)
    else:
        result = with_polysense(options.folder, threads=options.threads, seed=options.seed, overrides=options.overrides)
    json.dump(result, sys.stdout, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()

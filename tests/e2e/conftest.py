"""A small mixed table, and a model trained on it once."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import polysense

WORDS = ("red thing", "green thing", "blue thing")
SMALL = (
    "model.width=32",
    "training.epochs=2",
    "training.batch_size=16",
    "training.tensorboard=false",
    "evaluation.bootstrap=50",
    "data.split.test=0.2",
)


def write_table(folder: Path, num_rows: int = 72, *, name: str = "data.csv", seed: int = 0) -> Path:
    """Three classes that every column tells of; some cells are empty, and three files are broken."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_rows):
        label = index % 3
        pixels = generator.integers(0, 60, (12, 12, 3), dtype=np.uint8)
        pixels[:, :, label] += 150
        Image.fromarray(pixels).save(folder / f"{name}_{index}.png")
        time = np.arange(1200 + 100 * (index % 5)) / 8000
        wave = 0.3 * np.sin(2 * np.pi * (300 + 500 * label) * time) + 0.02 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{name}_{index}.wav", wave, 8000)
        note = f"this looks like a {WORDS[label]} to me, number {generator.integers(100)}"
        rows.append(
            {
                "the photo": f"{name}_{index}.png" if index % 9 else "",
                "sound": f".\\{name}_{index}.wav" if index % 7 else "",
                "note": note if index % 2 else "",
                "weight (kg)": f"{label + generator.normal(0, 0.5):.3f}" if index % 11 else "",
                "shop": ("north", "south", "east")[(label + (index % 4 == 0)) % 3],
                "label": ("apple", "pear", "plum")[label],
            }
        )
    (folder / f"{name}_1.png").write_bytes((folder / f"{name}_1.png").read_bytes()[:40])
    (folder / f"{name}_2.wav").write_bytes(b"")
    rows[4]["the photo"] = "nowhere.png"
    path = folder / name
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="session")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    return polysense.fit(
        table,
        target="label",
        output=tmp_path_factory.mktemp("runs") / "run",
        preset="fast",
        overrides=SMALL,
        progress=False,
    )


@pytest.fixture
def make_table() -> Callable[..., Path]:
    return write_table


@pytest.fixture
def small() -> tuple[str, ...]:
    return SMALL

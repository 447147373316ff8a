"""One small trained run for each task, which tests look at and copy before they change anything.

Trained when first asked for, once for all of xdist's workers: who comes second waits for the first's lock and unpickles
the `Run`. Each task's table lies beside the run; see the functions for what it holds.
"""

from __future__ import annotations

import csv
import datetime
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from filelock import FileLock
from PIL import Image

import polysense

__all__ = [
    "COLORS", "RECONSTRUCTED", "RUNS", "SMALL", "RunOnce", "once", "reconstructed_row", "scenes", "sentences", "stamps",
    "write_csv", "write_table",
]  # fmt: skip

RunOnce = Callable[[str, Callable[[Path], polysense.Run]], polysense.Run]
"""From a name and what trains in a folder to the run, see the fixture `run_once`."""

SMALL = (
    "model.width=32",
    "training.epochs=2",
    "training.batch_size=16",
    "training.tensorboard=false",
    "evaluation.bootstrap=50",
    "data.split.test=0.2",
)
"""What makes a training one of seconds."""

COLORS = {"red": (210, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (230, 230, 230)}


def once(folder: Path, train: Callable[[Path], polysense.Run]) -> polysense.Run:
    """The run that `train` leaves in a folder that all workers share."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    retained = folder / "run.pickle"
    with FileLock(folder.with_suffix(".lock")):
        if retained.exists():
            with retained.open("rb") as file:
                run: polysense.Run = pickle.load(file)
            return run
        folder.mkdir()
        run = train(folder)
        retained.write_bytes(pickle.dumps(run))
        return run


def stamps(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Size and time of every file, to tell whether somebody wrote to a shared run."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "run.pickle"]
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], *, delimiter: str = ",") -> Path:
    """Writes a table as spreadsheets do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig" if delimiter == ";" else "utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


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
        words = ("red thing", "green thing", "blue thing")[label]
        note = f"this looks like a {words} to me, number {generator.integers(100)}"
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
    return write_csv(folder / name, rows, delimiter=";")


def _classification(folder: Path) -> polysense.Run:
    """`data.csv`: images, sounds, texts, numbers and categories, see `write_table`."""
    return polysense.fit(
        write_table(folder), target="label", output=folder / "run", preset="fast", overrides=SMALL, progress=False
    )


def _several(folder: Path) -> polysense.Run:
    """A class, a number and tags at once, of a frame with a column of weights; `data.csv` without the media."""
    frame = polysense.read_table(write_table(folder, 60)).frame.with_columns(
        pl.int_range(60).cast(pl.Float64).mul(0.37).alias("size"),
        pl.Series("tags", [["a", "b"], ["a"], []] * 20),
        pl.Series("importance", [1.0, 2.0, 0.0] * 20),
    )
    return polysense.fit(
        frame.drop("the photo", "sound"),
        target=["label", "size", "tags"],
        output=folder / "run",
        preset="fast",
        overrides=[*SMALL, "data.weight=importance"],
        columns={"importance": "weight"},
        progress=False,
    )


def _generation(folder: Path) -> polysense.Run:
    """48 rows of `code` and `weather`, hardly trained: its bytes are often no characters."""
    words = ["sunny ☀️", "雨", "ветер 🌬", "clear sky", "雪 and ice", "fog"]
    rows = [{"code": f"{i % 6} {i % 5}", "weather": words[i % 6] + (" today" if i % 2 else "")} for i in range(48)]
    settings = ["model.width=16", "training.epochs=2", "training.batch_size=16", "training.tensorboard=false"]
    return polysense.fit(
        write_csv(folder / "data.csv", rows),
        target="weather",
        columns={"code": "text", "weather": "generation"},
        output=folder / "run",
        overrides=[*settings, "data.split.validation=0", "data.split.test=0"],
        progress=False,
    )


def sentences(num_rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Words in two scripts, with names of people and places, and their tags."""
    names = ("Ada", "Boris", "Chen", "Dora", "Emil", "Fatima", "Goran", "Анна", "Вера", "Борис")
    positions = ("Paris", "Oslo", "Lima", "New York", "San Juan", "Cape Town", "Москва", "Київ", "Рим")
    patterns = (
        "{p} went to {l} .",
        "yesterday {p} and {p} left {l} for {l} .",
        "in {l} , {p} met nobody .",
        "nobody lives there now .",
        "он видел {l} , и {p} тоже .",
    )
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(num_rows):
        words: list[str] = []
        tags: list[str] = []
        for word in patterns[generator.integers(len(patterns))].split():
            if word in ("{p}", "{l}"):
                kind, choices = ("PER", names) if word == "{p}" else ("LOC", positions)
                parts = choices[generator.integers(len(choices))].split()
                words += parts
                tags += [f"{'I' if i else 'B'}-{kind}" for i in range(len(parts))]
            else:
                words.append(word)
                tags.append("O")
        rows.append({"words": words, "tags": tags})
    return rows


def _tagging(folder: Path) -> polysense.Run:
    """200 rows of `words` and their `tags`; it has learned them."""
    settings = [
        "model.width=32", "training.epochs=8", "training.batch_size=16", "training.tensorboard=false",
        "training.ema=null", "evaluation.bootstrap=20", "data.modality_dropout=0",
    ]  # fmt: skip
    return polysense.fit(sentences(200), target="tags", output=folder / "run", overrides=settings, progress=False)


def scenes(folder: Path, repeats: int = 3) -> list[dict[str, str]]:
    """Every color in every corner on both grounds, drawn several times with noise; 32 different texts."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    corners = {"top left": (0, 0), "top right": (0, 8), "bottom left": (8, 0), "bottom right": (8, 8)}
    rows = []
    for repeat in range(repeats):
        for color, rgb in COLORS.items():
            for corner, (top, left) in corners.items():
                for ground, level in {"black": 0, "gray": 110}.items():
                    pixels = generator.integers(level, level + 20, (16, 16, 3), dtype=np.uint8)
                    pixels[top : top + 8, left : left + 8] = np.array(rgb, dtype=np.uint8)
                    name = f"{len(rows)}.png"
                    Image.fromarray(pixels).save(folder / name)
                    text = f"a {color} square at the {corner} on {ground}"
                    split = "test" if repeat == repeats - 1 else "train"
                    rows.append({"photo": name, "text": text, "color": color, "split": split})
    return rows


def _retrieval(folder: Path) -> polysense.Run:
    """`scenes.csv`: 96 images and their texts, see `scenes`; three cells are missing. It has learned them."""
    rows = scenes(folder)
    rows[3]["photo"], rows[5]["text"], rows[70]["photo"] = "nowhere.png", "", ""
    settings = [
        "model.width=32", "training.epochs=40", "training.batch_size=32", "training.validate_every=8",
        "training.tensorboard=false", "training.ema=null", "training.optimizer.lr=0.003", "evaluation.bootstrap=50",
        "data.transforms={}",
    ]  # fmt: skip
    return polysense.fit(
        write_csv(folder / "scenes.csv", rows),
        task="retrieval",
        target=["photo", "text"],
        columns={"text": "text", "color": "ignored"},
        preset="fast",
        output=folder / "run",
        overrides=settings,
        progress=False,
    )


RECONSTRUCTED = ("id", "size, cm", "price", "kind", "day", "photo", "note")


def reconstructed_row(i: int, x: float, folder: Path, *, missing: frozenset[str] = frozenset()) -> dict[str, str]:
    """A row in which every column but `id` tells the same number."""
    day = datetime.date(2020, 1, 1) + datetime.timedelta(days=int(500 + 100 * x))
    photo = f"photos/{i}.png"
    (folder / "photos").mkdir(exist_ok=True, parents=True)
    pixels = np.full((8, 8), int(np.clip(128 + 50 * x, 0, 255)), dtype=np.uint8)
    pixels[:4] = 255 - pixels[:4]
    Image.fromarray(pixels).save(folder / photo)
    cells = {
        "id": str(i % 50),  # not unique
        "size, cm": f"{100 + 10 * x:.1f}".replace(".", ","),
        "price": str(round(50 + 20 * x)),
        "kind": "True" if x > 0 else "False",
        "day": day.strftime("%d.%m.%Y"),
        "photo": photo,
        "note": "a very large one" if x > 0.5 else "a small one" if x < -0.5 else "one",
    }
    return {name: "" if name in missing else cells[name] for name in RECONSTRUCTED}


def _reconstruction(folder: Path) -> polysense.Run:
    """`data.csv`: 200 rows of numbers, a category, a date, images and texts, see `reconstructed_row`."""
    draws = np.random.default_rng(0).standard_normal(200)
    return polysense.fit(
        write_csv(folder / "data.csv", [reconstructed_row(i, x, folder) for i, x in enumerate(draws)]),
        task="reconstruction",
        preset="fast",
        columns={"id": "ignored", "day": "date", "note": "text", "kind": "category", "price": "number"},
        output=folder / "run",
        overrides=["model.width=32", "training.epochs=15", "evaluation.bootstrap=20", "data.split.test=0.2"],
        progress=False,
    )


RUNS: Mapping[str, Callable[[Path], polysense.Run]] = {
    "classification": _classification,
    "several": _several,
    "generation": _generation,
    "tagging": _tagging,
    "retrieval": _retrieval,
    "reconstruction": _reconstruction,
}
"""By task; `several` is of classification, regression and multilabel at once."""

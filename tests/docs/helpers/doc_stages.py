"""What stands beside a page's commands: the tables and models that they name, small and made on the spot.

A section's commands run one after the other in a folder of their own, as a reader would type them. STAGES says what
that folder holds at first, and what the capital words (TABLE, RUN) stand for. A section that is not here finds the
products of the README, their recipe, and no RUN.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from backbone_folders import save_recognizer
from PIL import Image

import polysense

COLORS = ("red", "green", "blue")
NUM_ROWS = 36

# A model of any of these tables in a few seconds: it learns nothing, and goes through every part of the program.
SMALL = (
    "model.width=16",
    "training.epochs=1",
    "training.batch_size=16",
    "training.tensorboard=false",
    "evaluation.bootstrap=10",
    "evaluation.simple_baselines=false",
    "evaluation.contribution_rows=16",
    "evaluation.generated_rows=2",
    "evaluation.samples=1",
)


@dataclass(frozen=True)
class Stage:
    """What a section's commands find.

    Attributes:
        make: Writes tables into the folder.
        names: What each capital word stands for.
        train: How the model that RUN names is trained: `polysense.fit`'s arguments, the table first.
        recipe: Whether recipe.yaml is written, of `train` if it is given.
    """

    make: Callable[[Path], None]
    names: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, Any] | None = None
    recipe: bool = False


def _picture(path: Path, label: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 60, (16, 16, 3), dtype=np.uint8)
    pixels[:, :, label] += 150
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def _sound(path: Path, label: int, seconds: float = 0.4) -> None:
    time = np.arange(int(seconds * 8000)) / 8000
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (300 + 400 * label) * time), 8000)


def _clip(path: Path, label: int) -> None:
    with av.open(str(path), "w") as file:
        images = file.add_stream("mpeg4", rate=10)
        images.width, images.height, images.pix_fmt = 32, 32, "yuv420p"
        clip = file.add_stream("aac", rate=8000)
        for place in range(10):
            pixels = np.zeros((32, 32, 3), dtype=np.uint8)
            pixels[:, 3 * place : 3 * place + 4, label] = 220
            file.mux(images.encode(av.VideoFrame.from_ndarray(pixels)))
        wave = (8000 * np.sin(np.arange(8192)[None] * (0.2 + 0.3 * label))).astype(np.int16)
        attended = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        attended.sample_rate = 8000
        file.mux(clip.encode(attended))
        for stream in (images, clip):
            file.mux(stream.encode(None))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def shards(folder: Path) -> None:
    """The products, and 13 shards of WebDataset with three photographs each."""
    products(folder)
    for number in range(13):
        with tarfile.TarFile(folder / f"photos-{number:06d}.tar", "w") as archive:
            for i in range(3 * number, 3 * number + 3):
                for kind, content in (
                    ("jpg", (folder / f"img/{i % NUM_ROWS:03d}.jpg").read_bytes()),
                    ("cls", str(i % 3).encode()),
                ):
                    member = tarfile.TarInfo(f"{i:06d}.{kind}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def annotated(folder: Path) -> None:
    """Photographs with boxes and masks, annotated as COCO does."""
    content: dict[str, list[dict[str, Any]]] = {
        "images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
    }  # fmt: skip
    for i in range(NUM_ROWS):
        (folder / "coco" / "images").mkdir(parents=True, exist_ok=True)
        _picture(folder / "coco" / "images" / f"{i}.png", i % 3, i)
        content["images"].append({"id": i, "file_name": f"{i}.png"})
        content["annotations"].append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1 + 4 * (i % 2),
                "bbox": [1, 2, 8, 9 + i % 4],
                "segmentation": [[1, 2, 9, 2, 9, 11 + i % 4, 1, 11 + i % 4]],
            }
        )
    (folder / "coco" / "instances.json").write_text(json.dumps(content), encoding="utf-8")


def orders(folder: Path) -> None:
    """orders.csv, and the products and reviews that it names; new_orders.csv without the answers."""
    items = [{"product_id": f"p{i}", "title": f"{COLORS[i % 3]} lamp {i}", "price": 5 + i % 4} for i in range(9)]
    reviews = [
        {
            "review_id": i,
            "product_id": f"p{i % 9}",
            "day": f"2024-01-{1 + i:02d}",
            "text": f"seems {COLORS[i % 3]}, {i}",
        }
        for i in range(27)
    ]
    rows = [
        {
            "product_id": f"p{i * 5 % 10}",
            "ordered": f"2024-01-{1 + i % 28:02d}",
            "quantity": 1 + i % 4,
            "returned": ("yes", "no")[(i * 5 % 10 + i // 7) % 2],
        }
        for i in range(NUM_ROWS)
    ]
    for name, cells in (("products", items), ("reviews", reviews), ("orders", rows)):
        _write(folder / f"{name}.csv", cells)
    _write(folder / "new_orders.csv", [{k: v for k, v in row.items() if k != "returned"} for row in rows[:8]])


def choices(folder: Path) -> None:
    """choices.csv of users and items, and the tables of both."""
    _write(folder / "items.csv", [{"item_id": f"i{i}", "title": f"{COLORS[i % 3]} lamp {i}"} for i in range(12)])
    _write(folder / "users.csv", [{"user_id": f"u{i}", "age": 20 + i} for i in range(6)])
    rows = [{"user_id": f"u{i % 6}", "item_id": f"i{i * 7 % 12}", "time": i} for i in range(2 * NUM_ROWS)]
    _write(folder / "choices.csv", rows)


def products(folder: Path) -> None:
    """products.csv of the README, with some cells empty; new.csv without the answers, labeled.csv with them."""
    rows = []
    for i in range(NUM_ROWS):
        photo, clip = f"img/{i:03d}.jpg", f"wav/{i:03d}.wav"
        _picture(folder / photo, i % 3, i)
        _sound(folder / clip, i % 3)
        rows.append(
            {
                "photo": photo if i % 7 else "",
                "recording": clip if i % 5 else "",
                "note": f"slightly {COLORS[i % 3]}, seen on shelf {i}" if i % 6 else "",
                "price": f"{1 + i % 3 + 0.01 * i:.2f}",
                "shop": ("north", "south")[i % 2],
                "category": ("apple", "pear", "plum")[i % 3],
            }
        )
    _write(folder / "products.csv", rows)
    _write(folder / "labeled.csv", rows[:8])
    _write(folder / "new.csv", [{k: v for k, v in row.items() if k != "category"} for row in rows[:8]])


def parcels(folder: Path) -> None:
    """table.csv: the products, with a number whose column's name holds a comma."""
    products(folder)
    with (folder / "products.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    _write(folder / "table.csv", [{**row, "size, cm": f"{10 + 0.3 * i:.1f}"} for i, row in enumerate(rows)])


def clips(folder: Path) -> None:
    """clips.jsonl: videos with sound, and what is said in them."""
    for label in range(3):
        _clip(folder / f"{label}.mp4", label)
    words = [f"the {COLORS[i % 3]} bar number {i} moves" for i in range(NUM_ROWS)]
    _write(folder / "clips.jsonl", [{"clip": f"{i % 3}.mp4", "words": said} for i, said in enumerate(words)])


def captions(folder: Path) -> None:
    """photos.csv: pictures and their captions."""
    rows = []
    for i in range(NUM_ROWS):
        _picture(folder / f"img/{i}.png", i % 3, i)
        rows.append({"photo": f"img/{i}.png", "caption": f"a {COLORS[i % 3]} thing, number {i}, on a table"})
    _write(folder / "photos.csv", rows)
    _picture(folder / "cat.jpg", 0, 0)


def liked(folder: Path) -> None:
    """photos.csv: pictures and their captions; liked.csv with captions that were rejected for these."""
    captions(folder)
    rows = [
        {"photo": f"img/{i}.png", "caption": f"a {COLORS[i % 3]} thing, number {i}, on a table", "worse": f"number {i}"}
        for i in range(NUM_ROWS)
    ]
    _write(folder / "liked.csv", rows)


def speech(folder: Path) -> None:
    """speech.csv: recordings and transcripts; and a folder with a recognizer."""
    save_recognizer(folder / "weights" / "recognizer")
    rows = []
    for i in range(NUM_ROWS):
        _sound(folder / f"wav/{i}.wav", i % 3, seconds=0.8 + 0.05 * (i % 5))
        rows.append({"audio": f"wav/{i}.wav", "transcript": COLORS[i % 3]})
    _write(folder / "speech.csv", rows)


def animals(folder: Path) -> None:
    """animals.csv: pictures, sounds and captions of animals; and what is asked for."""
    names = ("cat", "dog", "wolf")
    rows = []
    for i in range(NUM_ROWS):
        _picture(folder / f"img/{i}.png", i % 3, i)
        _sound(folder / f"wav/{i}.wav", i % 3)
        caption = f"a photo of a {names[i % 3]} on a day of {i} hours"
        media = {"photo": f"img/{i}.png", "sound": f"wav/{i}.wav", "caption": caption}
        rows.append({**media, "animal": names[i % 3], "label": names[i % 3], "year": 2000 + i})
    _write(folder / "animals.csv", rows)
    _picture(folder / "dog.png", 1, 1)
    _sound(folder / "bark.wav", 1)


def reviews(folder: Path) -> None:
    """reviews.csv: texts of different lengths, with stars."""
    texts = ["good " * (1 + i % 9) + f"and {i}" for i in range(NUM_ROWS)]
    _write(folder / "reviews.csv", [{"text": text, "stars": str(1 + i % 3)} for i, text in enumerate(texts)])


def answers(folder: Path) -> None:
    """recipe.yaml with a pretrained language model that writes an answer."""
    captions(folder)
    text = polysense.new(folder / "photos.csv", "caption")
    recipe = text.replace("caption", "answer")
    start = recipe.index("  heads:")
    end = recipe.index("\n# ", start)
    head = "  heads:\n    answer: {type: language_model, path: ./Qwen2.5-0.5B, tune: lora}\n"
    (folder / "recipe.yaml").write_text(recipe[:start] + head + recipe[end:], encoding="utf-8")
    photos = (folder / "photos.csv").read_text(encoding="utf-8").replace("caption", "answer", 1)
    (folder / "photos.csv").write_text(photos, encoding="utf-8")


PRODUCTS = Stage(make=products, train={"table": "products.csv", "target": "category"}, recipe=True)
_ANIMALS = Stage(
    make=animals,
    names={"TABLE": "animals.csv", "RUN": "trained"},
    train={
        "table": "animals.csv",
        "task": "retrieval",
        "columns": dict.fromkeys(("animal", "label", "year"), "ignored"),
    },
)
STAGES: Mapping[str, Stage] = {
    "Train on a table": Stage(make=products),  # it writes its recipe itself
    "Missing modalities": Stage(
        make=products, names={"RUN": "trained"}, train={"table": "products.csv", "target": "category"}
    ),
    "Audit": Stage(make=products, names={"RUN": "trained"}, train={"table": "products.csv", "target": "category"}),
    "Several tables": Stage(make=orders),
    "Rankings: what a user chooses next": Stage(make=choices),
    "Shards": Stage(make=shards),
    "Boxes: detection": Stage(make=annotated),
    "Instances: a mask for each thing": Stage(make=annotated),
    "Videos": Stage(make=clips),
    "Decoding strategies": Stage(
        make=captions,
        names={"TABLE": "photos.csv", "RUN": "trained"},
        train={"table": "photos.csv", "target": "caption"},
    ),
    "Speech recognition and handwriting": Stage(
        make=speech,
        names={"TABLE": "speech.csv", "RUN": "trained", "DIR": "weights"},
        train={"table": "speech.csv", "target": "transcript", "columns": {"transcript": "generation"}},
    ),
    "Joint embedding space": _ANIMALS,
    "Search": _ANIMALS,
    "Few-shot": _ANIMALS,
    "Maps": _ANIMALS,
    "Reconstruction": Stage(make=products, names={"TABLE": "products.csv"}),
    "Errors, skill and anomalies": Stage(
        make=parcels, names={"RUN": "RUN"}, train={"table": "table.csv", "task": "reconstruction"}
    ),
    "Imputing missing cells": Stage(make=parcels, names={"TABLE": "table.csv"}),
    "Imputation as part of another model": Stage(make=parcels, names={"TABLE": "table.csv", "NEW_TABLE": "table.csv"}),
    "Batches of texts and audio": Stage(make=reviews),
    "A pretrained language model as decoder": Stage(make=answers),
    "Preferences and rewards": Stage(make=liked),
}

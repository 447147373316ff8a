"""Which of two shapes sounds, as its pixels: a mask from a picture and a sound.

    python benchmarks/sound_source.py [--rows 1200] [--epochs 20] [--output FOLDER]

Every picture holds two shapes of different forms, of any size, color and place. Each form has a tone of its own
(with overtones, of any loudness, in noise), and the sound of a row is one of the two: the mask is of the shape that
sounds. Which form sounds is drawn, so the picture alone knows the two shapes and not which of them, and the sound alone
no place. The test pictures are scored with their sounds, without, and with another row's.
"""

from __future__ import annotations

import argparse
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import polysense
from made_pictures import draw_shape, print_scores, write_parts

__all__ = ["make_rows"]

_SIDE = 64
_RATE, _SECONDS = 8000, 0.5
_TONES = {"circle": 300.0, "triangle": 700.0, "square": 1600.0}  # hertz
_SIZES = (14, 25)


def make_rows(folder: Path, num_rows: int, seed: int) -> list[dict[str, Any]]:
    """Pictures, sounds and masks in `folder`, and rows with their paths and the form that sounds."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return [_row(draws, folder / f"{seed}_{index}") for index in range(num_rows)]


def _row(draws: np.random.Generator, path: Path) -> dict[str, Any]:
    first, second = (list(_TONES)[k] for k in draws.permutation(len(_TONES))[:2])  # the first one sounds
    boxes = _places(draws)
    image = Image.fromarray(draws.integers(200, 245, (_SIDE, _SIDE, 3), dtype=np.uint8))
    mask = Image.new("L", (_SIDE, _SIDE))
    for form, box in zip((first, second), boxes, strict=True):
        red, green, blue = draws.integers(0, 180, 3).tolist()
        draw_shape(ImageDraw.Draw(image), form, box, (red, green, blue))
    draw_shape(ImageDraw.Draw(mask), first, boxes[0], 1)
    files = {
        "picture": path.with_suffix(".png"),
        "sound": path.with_suffix(".wav"),
        "source": path.with_suffix(".mask.png"),
    }
    image.save(files["picture"])
    mask.save(files["source"])
    _write_tone(files["sound"], _TONES[first], draws)
    return {**{name: str(file) for name, file in files.items()}, "form": first}


def _places(draws: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """Two boxes, corners included, that do not touch."""
    while True:
        boxes = []
        for _ in range(2):
            side = int(draws.integers(*_SIZES))
            left, top = (int(draws.integers(1, _SIDE - side)) for _ in range(2))
            boxes.append((left, top, left + side - 1, top + side - 1))
        (a, b, c, d), (e, f, g, h) = boxes
        if c + 2 < e or g + 2 < a or d + 2 < f or h + 2 < b:
            return boxes


def _write_tone(path: Path, pitch: float, draws: np.random.Generator) -> None:
    time = np.arange(int(_RATE * _SECONDS)) / _RATE
    pitch *= draws.uniform(0.94, 1.06)
    tone = sum(np.sin(2 * np.pi * k * pitch * time + draws.uniform(0, 6)) * draws.uniform(0, 1) / k for k in (1, 2))
    tone += np.sin(2 * np.pi * pitch * time)
    samples = draws.uniform(0.1, 0.4) * tone + draws.normal(0, 0.02, len(time))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--test-rows", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", type=Path, help="a new folder for pictures, sounds and run; else they are deleted")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.output or Path(temporary)).absolute()
        tables = write_parts(folder, make_rows, options.rows, options.test_rows)
        run = polysense.fit(
            tables["train"], target="source", task="segmentation", validation=tables["validation"],
            output=folder / "run", columns={"picture": "image", "sound": "audio", "form": "ignored"}, progress=False,
            overrides=[
                f"training.epochs={options.epochs}", "data.transforms={}", "audit=off", "training.tensorboard=false",
                "evaluation.contribution=false", *options.overrides,
            ],
        )  # fmt: skip
        shown = {"iou/1": "IoU of the shape that sounds", "mean_iou": "mean IoU", "boundary_f1": "F1 of outlines"}
        print_scores(run.bundle, tables["test"], "source", "sound", shown)


if __name__ == "__main__":
    main()

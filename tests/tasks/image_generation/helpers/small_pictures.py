"""Pictures of bars and squares, and columns that say which: a word and a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["SHAPES", "SMALL", "write_pictures"]

SHAPES = ("bar", "level", "square")
SMALL = [
    "model.width=16",
    "model.fusion=concat",
    "model.heads.picture.channels=16",
    "model.heads.picture.predicts=velocity",  # in the 64 steps of a test it learns more of the columns
    "model.heads.picture.steps=6",
    "model.heads.picture.solver=euler",
    "model.heads.picture.dropout=0",
    "training.batch_size=16",
    "training.tensorboard=false",
    "evaluation.bootstrap=20",
    "evaluation.samples=2",
]


def write_pictures(folder: Path, num_rows: int) -> list[dict[str, object]]:
    """Rows of a table of gray pictures of 8 x 8 pixels; those of one shape differ in place and brightness."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for index in range(num_rows):
        pixels, light, at = np.zeros((8, 8), dtype=np.uint8), int(rng.integers(150, 256)), int(rng.integers(2, 5))
        shape = SHAPES[index % 3]
        if shape == "bar":
            pixels[:, at : at + 2] = light
        elif shape == "level":
            pixels[at : at + 2] = light
        else:
            pixels[at - 1 : at + 3, at - 1 : at + 3] = light
        Image.fromarray(pixels).save(folder / f"{index}.png")
        rows.append({"picture": f"{index}.png", "shape": shape, "size": float(light)})
    return rows

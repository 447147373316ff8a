"""Photos of squares and disks on noise, touching now and then, with a mask for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["SMALL", "write_pictures"]

SIZES = ((48, 64), (72, 60), (64, 64))
SMALL = [
    "model.width=16",
    "model.encoders.photo.channels=8",
    "model.heads.things.channels=16",
    "model.heads.things.queries=9",
    "model.heads.things.layers=1",
    "training.batch_size=8",
    "training.tensorboard=false",
    "evaluation.bootstrap=20",
]


def write_pictures(folder: Path, num_rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a table: none to two bright things in a photo, as polygons, or as a file each in every third row."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_rows):
        height, width = SIZES[index % len(SIZES)]
        image = Image.fromarray(generator.integers(60, 110, (height, width, 3), dtype=np.uint8))
        draw = ImageDraw.Draw(image)
        things: list[dict[str, Any]] = []
        for side in range(index % 6 and 1 + index % 2):
            size = int(generator.integers(14, 22))
            left, top = side * 30 + int(generator.integers(0, 30 - size)), int(generator.integers(0, height - size))
            label = ("square", "disk")[int(generator.integers(2))]
            color = tuple(int(part) for part in ((230, 190, 60) if label == "square" else (90, 200, 240)))
            box = (left, top, left + size - 1, top + size - 1)
            mask = Image.new("L", (width, height))
            for canvas, fill in ((draw, color), (ImageDraw.Draw(mask), 255)):
                (canvas.rectangle if label == "square" else canvas.ellipse)(box, fill=fill)
            right, bottom = left + size, top + size
            if index % 3 or label == "disk":
                mask.save(folder / f"{index}_{side}.png")
                things.append({"label": label, "mask": f"{index}_{side}.png"})
            else:
                things.append({"label": label, "polygon": [left, top, right, top, right, bottom, left, bottom]})
        image.save(folder / f"photo_{index}.png")
        rows.append({"photo": f"photo_{index}.png", "note": f"thing {index % 4}", "things": json.dumps(things)})
    return rows

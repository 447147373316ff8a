"""Photos of squares and disks on noise, their boxes, and a note that says which of the two is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["SMALL", "write_pictures"]

SIZES = ((48, 64), (72, 60), (64, 64))
SMALL = [
    "model.width=16",
    "model.encoders.photo.channels=8",
    "model.heads.boxes.channels=16",
    "training.batch_size=8",
    "training.tensorboard=false",
    "evaluation.bootstrap=20",
]


def write_pictures(folder: Path, num_rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a table: one or two bright things in a photo; every sixth shows none."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_rows):
        height, width = SIZES[index % len(SIZES)]
        image = Image.fromarray(generator.integers(60, 110, (height, width, 3), dtype=np.uint8))
        draw = ImageDraw.Draw(image)
        boxes: list[dict[str, Any]] = []
        for side in range(index % 6 and 1 + index % 2):
            size = int(generator.integers(16, 24))
            left = side * width // 2 + int(generator.integers(0, width // 2 - size))
            top = int(generator.integers(0, height - size))
            place, label = (left, top, left + size - 1, top + size - 1), ("square", "disk")[int(generator.integers(2))]
            (draw.rectangle if label == "square" else draw.ellipse)(place, fill=(230, 210, 60))
            boxes.append({"label": label, "box": [left, top, left + size, top + size]})
        image.save(folder / f"photo_{index}.png")
        rows.append({"photo": f"photo_{index}.png", "note": f"thing {index % 4}", "boxes": boxes})
    return rows

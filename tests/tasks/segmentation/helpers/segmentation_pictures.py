"""Photos of a square or a disk on noise, their masks, and a note that says which of the two is asked for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["CLASSES", "SMALL", "as_png", "segments_of", "write_pictures"]

CLASSES = ("0", "3", "9")
SIZES = ((24, 32), (36, 30), (40, 60))
SMALL = [
    "model.width=16",
    "model.encoders.photo.channels=8",
    "model.heads.mask.channels=16",
    "training.batch_size=8",
    "training.tensorboard=false",
    "training.ema=null",
    "evaluation.bootstrap=20",
]


def as_png(values: np.ndarray, mode: str = "P") -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(values).convert("P") if mode == "P" else Image.fromarray(values)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(file, "PNG")
    return file.getvalue()


def write_pictures(folder: Path, num_rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a table; masks have the values 0, 3 (the left thing), 9 (the right one) and, at their edge, 255: void."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_rows):
        height, width = SIZES[index % len(SIZES)]
        pixels = generator.integers(60, 120, (height, width, 3), dtype=np.uint8)
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        boxes = []
        for side, value in enumerate((3, 9)):
            size = int(generator.integers(8, 12))
            left = side * width // 2 + int(generator.integers(0, width // 2 - size))
            top = int(generator.integers(0, height - size))
            boxes.append([left, top, left + size - 1, top + size - 1])
            draw.rectangle(boxes[-1], fill=value, outline=255 if index % 2 else value)
        values = np.array(mask)
        inside = np.isin(values, (3, 9, 255))
        pixels[inside] = generator.integers(180, 240, (int(inside.sum()), 3))
        Image.fromarray(pixels).save(folder / f"photo_{index}.png")
        (folder / f"mask_{index}.png").write_bytes(as_png(values, "P" if index % 3 else "L"))
        rows.append(
            {"photo": f"photo_{index}.png", "note": f"thing {index % 4}", "mask": f"mask_{index}.png", "boxes": boxes}
        )
    return rows


def segments_of(row: dict[str, Any]) -> str:
    """The same masks as polygons, as JSON text."""
    segments = []
    for label, (left, top, right, bottom) in zip(("left", "right"), row["boxes"], strict=True):
        segments.append({"label": label, "polygon": [left, top, right, top, right, bottom, left, bottom]})
    return json.dumps(segments)

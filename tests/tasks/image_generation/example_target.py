"""A target of image generation, for tests over all tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OVER = None


def settings(column: str | None) -> dict[str, object]:
    """Of its config, when it lies in this column."""
    del column
    return {"size": [6, 5]}


def example_target(index: int, folder: Path) -> str:
    """The file of an image of 6 x 5 pixels."""
    pixels = np.random.default_rng(index).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"generated_{index}.png")
    return f"generated_{index}.png"

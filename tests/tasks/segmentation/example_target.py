"""A target of segmentation, for tests over all tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OVER = "image"


def settings(column: str | None) -> dict[str, object]:
    """Of its config, when it lies in this column."""
    return {"over": column}


def example_target(index: int, folder: Path) -> str:
    """A mask of two classes on an image of 24 x 20 pixels."""
    mask = np.zeros((20, 24), dtype=np.uint8)
    mask[:, : 4 + 3 * index] = 1
    Image.fromarray(mask).save(folder / f"{index}.mask.png")
    return f"{index}.mask.png"

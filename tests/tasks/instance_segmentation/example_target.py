"""A target of instance segmentation, for tests over all tasks."""

from __future__ import annotations

import json
from pathlib import Path

OVER = "image"


def settings(column: str | None) -> dict[str, object]:
    """Of its config, when it lies in this column."""
    return {"over": column}


def example_target(index: int, folder: Path) -> str:
    """Two things in an image of 24 x 20 pixels."""
    del folder
    left = index % 6
    cat = [left, 2, left + 9, 2, left + 9, 12, left, 12]
    dog = {"size": [20, 24], "counts": [12 * 20 + 8, 9, 11, 9, 203]}
    return json.dumps([{"label": "cat", "polygon": cat}, {"label": "dog", "rle": dog}])

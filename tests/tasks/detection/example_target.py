"""A target of detection, for tests over all tasks."""

from __future__ import annotations

import json
from pathlib import Path

OVER = "image"


def settings(column: str | None) -> dict[str, object]:
    """Of its config, when it lies in this column."""
    return {"over": column}


def example_target(index: int, folder: Path) -> str:
    """Two boxes in an image of 24 x 20 pixels."""
    del folder
    left = float(index % 6)
    return json.dumps([{"label": "cat", "box": [left, 2, left + 9, 12]}, {"label": "dog", "bbox": [12, 8, 10, 9]}])

"""A video's parts are those of its frames, and are called so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysense.core.registry import modality
from polysense.core.unsupported import Unsupported
from polysense.modalities.video.column import VideoColumnConfig


@pytest.mark.parametrize(
    ("num_frames", "most", "first", "last"),
    [
        (3, 36, "frame 1, row 1, column 1", "frame 3, row 3, column 3"),
        (5, 8, "frame 1", "frame 5"),
        (20, 4, "frames 1 to 5", "frames 16 to 20"),
    ],
)
def test_parts_are_named_by_frames(num_frames: int, most: int, first: str, last: str) -> None:
    make = modality("video").cell_parts
    assert not isinstance(make, Unsupported)
    frames = [np.full((3, 12, 12), i, dtype=np.uint8) for i in range(num_frames)]
    parts = make(VideoColumnConfig().build("clip"), "clip.mp4", Path(), frames, most)
    assert (parts.places[0].name, parts.places[-1].name) == (first, last)
    assert "image" not in " ".join(place.name for place in parts.places)
    _, items = parts.without([0])
    assert len(items) == num_frames

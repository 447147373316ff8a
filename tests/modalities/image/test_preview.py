"""Thumbnails, alone and side by side."""

from __future__ import annotations

import numpy as np

from polysense.core.preview import as_jpeg, side_by_side
from polysense.modalities.image.preview import thumbnail


def test_thumbnails_are_small_and_side_by_side() -> None:
    gray = np.full((1, 300, 200), 90, np.uint8)
    assert thumbnail(gray).shape == (128, 85, 3)
    assert thumbnail(gray[:, :20, :20]).shape == (20, 20, 3)
    joined = side_by_side([thumbnail(gray), thumbnail(gray[:, :20, :20])])
    assert joined.shape == (128, 109, 3)
    assert as_jpeg(joined)[:3] == b"\xff\xd8\xff"

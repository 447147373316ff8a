"""A video in parts: those of its frames, which are called frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from polysense.core.cell_parts import CellParts
from polysense.core.geometry import Placement
from polysense.core.modality_spec import FittedColumn, MakeParts

__all__ = ["parts_of_frames"]

_IMAGE = re.compile(r"^image(s?)\b")


def parts_of_frames(make: MakeParts) -> MakeParts:
    """Parts as those of several pictures, each named by its frame."""

    def of_frames(
        fitted: FittedColumn,
        cell: object,
        root: Path,
        items: Sequence[np.ndarray],
        most: int,
        placement: Placement | None = None,
    ) -> CellParts:
        parts = make(fitted, cell, root, items, most, placement)
        parts.places = [replace(place, name=_IMAGE.sub(r"frame\1", place.name)) for place in parts.places]
        return parts

    return of_frames

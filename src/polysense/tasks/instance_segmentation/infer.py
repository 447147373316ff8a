"""Recognize a column of things with a mask each."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError
from polysense.tasks.instance_segmentation.instances import EXPECTED, looks_like_masks

__all__ = ["claim"]

_CONFIDENCE = 0.97


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Lists of labels with a file each; an empty list is an image that shows nothing. See `TaskSpec.infer`.

    Polygons and run-length codes may be classes of pixels just as well, and are taken for things where that is stated.
    """
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    num_masks = 0
    for cell in evidence.cells:
        try:
            value = from_json(cell, EXPECTED)
        except DecodeError:
            return None
        if looks_like_masks(value):
            num_masks += 1
        elif not (isinstance(value, (list, tuple)) and not value):
            return None
    return TargetClaim(confidence=_CONFIDENCE, evidence="labels with a mask's file each") if num_masks else None

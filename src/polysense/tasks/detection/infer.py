"""Recognize a column of labeled boxes."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError
from polysense.tasks.detection.boxes import EXPECTED, looks_like_boxes

__all__ = ["claim"]

_CONFIDENCE = 0.97  # nothing else has a label and a box


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Lists of boxes with labels; an empty list among them is an image that shows nothing. See `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    num_boxes = 0
    for cell in evidence.cells:
        try:
            value = from_json(cell, EXPECTED)
        except DecodeError:
            return None
        if looks_like_boxes(value):
            num_boxes += 1
        elif not (isinstance(value, (list, tuple)) and not value):
            return None
    return TargetClaim(confidence=_CONFIDENCE, evidence="boxes with labels") if num_boxes else None

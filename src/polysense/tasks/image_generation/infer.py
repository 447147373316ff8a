"""Recognize a column of image files, named as the target."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile

__all__ = ["claim"]

_CONFIDENCE = 0.9  # below a mask's, which is an image file too
_SHARE = 0.5


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Files of which most are images, one in a cell; see `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    share = 0.0 if evidence.are_lists else evidence.file_shares.get("image", 0.0)
    if share <= _SHARE:
        return None
    return TargetClaim(confidence=_CONFIDENCE, evidence=f"{evidence.files('image')}, to be generated")

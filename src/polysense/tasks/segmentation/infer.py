"""Recognize a column of masks: PNG files of few values beside an image column, or lists of polygons and codes."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.media.sniff import file_kind
from polysense.data.roles.profile import ColumnProfile
from polysense.data.values.json_cell import from_json
from polysense.errors import DecodeError
from polysense.tasks.segmentation.masks import EXPECTED, looks_like_segments, read_mask

__all__ = ["claim"]

_OPENED = 8
_MOST_VALUES = 64  # in one PNG; an image in gray has more
_CONFIDENCE = 0.96


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Segments with polygons or codes, or files that read as masks; see `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    try:
        if looks_like_segments(from_json(evidence.cells[0], EXPECTED)):
            return TargetClaim(confidence=_CONFIDENCE, evidence="polygons or run-length codes with labels")
    except DecodeError:
        return None
    if evidence.are_lists or not _lies_beside_images(evidence):
        return None
    labels: set[str] = set()
    num_read = 0
    for cell in evidence.cells[:_OPENED]:
        try:
            mask = read_mask(cell, evidence.root)
        except DecodeError:
            continue
        labels |= {*mask.labels}
        num_read += len(mask.labels) <= _MOST_VALUES
    if 2 * num_read <= len(evidence.cells[:_OPENED]):
        return None
    reason = f"PNG files with one value a pixel, {len(labels)} different ones in the {num_read} looked at"
    return TargetClaim(confidence=_CONFIDENCE, evidence=reason)


def _lies_beside_images(evidence: ColumnProfile) -> bool:
    """Whether the cells are files, and another column's are of the same kind."""
    table, kind = evidence.table, file_kind(evidence.cells[0])
    others = (name for name in table.names if name != evidence.name)
    return kind is not None and any(
        any(file_kind(table.cell(i, name)) == kind for i in evidence.positions[:_OPENED]) for name in others
    )

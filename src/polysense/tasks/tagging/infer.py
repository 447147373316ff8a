"""Recognize a column of labeled segments, or of labels for another column's words."""

from __future__ import annotations

import polars as pl

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile
from polysense.errors import DecodeError
from polysense.tasks.tagging.labeled import read_labeled

__all__ = ["claim"]

_FEWEST_PAIRS = 3
_CONFIDENCE = 0.95  # a list of start, end and label is nothing else


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Segments, or lists of labels beside a column whose cells have as many words; see `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    read = []
    for cell in evidence.cells:
        if not isinstance(cell, (list, str)) or (isinstance(cell, str) and cell.strip()[:1] != "["):
            return None
        try:
            labeled = read_labeled(cell)
        except DecodeError:
            return None
        if labeled is not None:
            read.append(labeled)
    segments = [segment for one in read for segment in one.segments]
    if segments:
        start, end, label = segments[0]
        example = f"such as {label!r} from {start:g} to {end:g}"
        return TargetClaim(confidence=_CONFIDENCE, evidence=f"lists of segments with start, end and label, {example}")
    lengths = [len(one.labels or ()) for one in read]
    # A set of labels names none twice; where none is, the numbers of labels have to follow the words'.
    repeated = any(len(set(map(str, one.labels or ()))) < len(one.labels or ()) for one in read)
    if max(lengths, default=0) < 2 or (len(set(lengths)) < 2 and not repeated):
        return None
    return _labels_of_words(evidence)


def _labels_of_words(evidence: ColumnProfile) -> TargetClaim | None:
    """The column whose cells have one word for each label."""
    table = evidence.table
    for name in table.names:
        if name == evidence.name or table.dtype(name) not in (pl.String, pl.List(pl.String)):
            continue
        pairs = [
            (len(words), len(labeled.labels))
            for words, labeled in (
                (_words_of(table.cell(i, name)), read_labeled(table.cell(i, evidence.name, literal=True)))
                for i in evidence.positions
            )
            if words is not None and labeled is not None and labeled.labels is not None
        ]
        if len(pairs) >= _FEWEST_PAIRS and all(a == b for a, b in pairs):
            reason = f"lists of labels, one for each word of {name!r} in all {len(pairs):,} rows looked at"
            return TargetClaim(confidence=_CONFIDENCE, evidence=reason, over=name)
    return None


def _words_of(cell: object) -> list[str] | None:
    """A cell's words, whether it is a list of them or a text."""
    if isinstance(cell, list):
        return [str(word) for word in cell]
    return cell.split() if isinstance(cell, str) else None

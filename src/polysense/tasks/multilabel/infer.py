"""Recognize a column of labels: lists of them, or texts in which a delimiter separates them."""

from __future__ import annotations

from collections import Counter

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile

__all__ = ["claim", "find_delimiter"]

_LISTS, _DELIMITED = 0.85, 0.8
_LONGEST_LABEL = 40  # characters
# A comma stands in prose as well, so it has to be more convincing: the share of labels that occur in two combinations.
_DELIMITERS = (("|", 0.5), (";", 0.5), (",", 0.8))


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Lists of labels, or delimited ones; see `TaskSpec.infer`."""
    delimiter = None if evidence.are_lists else find_delimiter(evidence)
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated", multiple=True, delimiter=delimiter)
    if evidence.are_lists:
        labels = {str(item) for cell in evidence.cells if isinstance(cell, list) for item in cell}
        reason = f"lists of labels, {len(labels):,} different ones looked at"
        return TargetClaim(confidence=_LISTS, evidence=reason, multiple=True)
    if delimiter is None:
        return None
    parts = {part.strip() for cell in evidence.cells for part in str(cell).split(delimiter)}
    reason = f"{len(parts):,} labels separated by {delimiter!r}"
    return TargetClaim(confidence=_DELIMITED, evidence=reason, multiple=True, delimiter=delimiter)


def find_delimiter(evidence: ColumnProfile) -> str | None:
    """What separates labels in one text, if that is convincing: short labels, most of them in several combinations."""
    texts = [cell for cell in evidence.cells if isinstance(cell, str)]
    if len(texts) < len(evidence.cells):
        return None
    for delimiter, shared in _DELIMITERS:
        cut = [tuple(part.strip() for part in text.split(delimiter)) for text in texts]
        several = [parts for parts in cut if len(parts) > 1]
        too_long = any(len(part) > _LONGEST_LABEL for parts in several for part in parts)
        if len(several) < max(3, 0.05 * len(cut)) or too_long:
            continue
        combinations = set(cut)
        labels = Counter(part for parts in combinations for part in set(parts) if part)
        recurring = sum(count >= 2 for count in labels.values())
        if labels and recurring >= shared * len(labels) and len(labels) <= len(combinations):
            return delimiter
    return None

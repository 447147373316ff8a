"""Recognize a column of classes: codes, and whatever recurs."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile, are_codes, are_numbers

__all__ = ["claim"]

_CODES, _VALUES = 0.82, 0.5
_MANY = 50


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Integers of few values, and other values unless most of them occur once; see `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    if evidence.are_lists:
        return None
    distinct = evidence.num_distinct()
    if are_numbers(evidence):
        if not are_codes(evidence):
            return None
        low, high, _ = evidence.range_of_numbers()
        hint = "" if distinct == 2 else "; if they are quantities, its type is regression"
        return TargetClaim(confidence=_CODES, evidence=f"integers {low} to {high}, {evidence.counts()}{hint}")
    if distinct > 0.5 * evidence.num_present and distinct > _MANY:
        return None
    return TargetClaim(confidence=_VALUES, evidence=evidence.counts())

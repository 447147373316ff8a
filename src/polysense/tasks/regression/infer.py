"""Recognize a column of quantities: numbers that are no codes."""

from __future__ import annotations

from polysense.core.task_spec import TargetClaim
from polysense.data.roles.profile import ColumnProfile, are_codes, are_numbers

__all__ = ["claim"]

_CONFIDENCE = 0.82  # above that of labels that a comma separates, which "1,5" would be


def claim(evidence: ColumnProfile, *, stated: bool = False) -> TargetClaim | None:
    """Fractions, and integers of too many values to be classes; see `TaskSpec.infer`."""
    if stated:
        return TargetClaim(confidence=1.0, evidence="as stated")
    if not are_numbers(evidence):
        return None
    low, high, whole = evidence.range_of_numbers()
    mark = evidence.decimal_mark
    settings = {} if mark is None else {"decimal": mark}
    how = f"; {evidence.numbers}" if evidence.numbers else ""
    how += (
        f"; decimal mark {mark!r}, as in the other columns, or as semicolons between the fields say"
        if mark is not None
        else ""
    )
    if not whole:
        reason = f"numbers from {low} to {high}, {evidence.counts()}{how}"
        return TargetClaim(confidence=_CONFIDENCE, evidence=reason, settings=settings)
    if are_codes(evidence):
        return None
    hint = "; if they are codes, its type is classification"
    reason = f"integers from {low} to {high}, {evidence.counts()}{how}{hint}"
    return TargetClaim(confidence=_CONFIDENCE, evidence=reason, settings=settings)

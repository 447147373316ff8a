"""What kind of output a target column asks for: the surest of the tasks that recognize it."""

from __future__ import annotations

from polysense.core.registry import named, tasks
from polysense.core.role import Role
from polysense.core.task_spec import TargetClaim
from polysense.core.unsupported import Unsupported
from polysense.data.evidence import ColumnGuess, Evidence, quote
from polysense.errors import ColumnError

__all__ = ["guess_target", "stated_target"]


def guess_target(evidence: Evidence) -> ColumnGuess:
    """The guess for a target column.

    Raises:
        ColumnError: It has no values, only one, or values that no task predicts.
    """
    where = f"{evidence.table.name}, target column {evidence.name!r}"
    if not evidence.cells:
        raise ColumnError(f"{where}: all {evidence.num_rows:,} cells are missing; nothing can be learnt from it")
    claims = {name: claim for name in tasks() if (claim := _claim(name, evidence)) is not None}
    name = max(claims, key=lambda name: claims[name].confidence, default=None)  # of equals, the first
    if name is not None and claims[name].confidence >= TargetClaim.SURE:
        return _guess(evidence, name, claims[name])
    if isinstance(evidence.cells[0], (bytes, dict)):
        raise ColumnError(
            f"{where}: found {type(evidence.cells[0]).__name__} cells, which no task reads "
            f"({', '.join(tasks())}); expected classes, numbers or lists of labels"
        )
    if evidence.num_distinct() == 1:
        raise ColumnError(
            f"{where}: has the same value, {quote(evidence.cells[0])}, in all {evidence.num_present:,} rows that have "
            f"one; nothing can be learnt from it"
        )
    if name is None:
        raise ColumnError(
            f"{where}: found {evidence.counts()}, such as {quote(evidence.cells[0])}: too many for classes, and too "
            f"short for texts; state the target's type, as classification or generation"
        )
    return _guess(evidence, name, claims[name])


def stated_target(evidence: Evidence, name: str) -> ColumnGuess:
    """What a target column is that the user says the task of.

    Args:
        evidence: Of the column.
        name: The task's.
    """
    claim = _claim(name, evidence, stated=True)
    assert claim is not None, f"{name}: a stated column has a claim"
    return _guess(evidence, name, claim)


def _claim(name: str, evidence: Evidence, *, stated: bool = False) -> TargetClaim | None:
    infer = tasks()[name].infer
    if isinstance(infer, Unsupported):
        return None
    claim = named(infer)(evidence, stated=stated)
    assert claim is None or isinstance(claim, TargetClaim), f"{infer} gave a {type(claim).__name__}"
    return claim


def _guess(evidence: Evidence, name: str, claim: TargetClaim) -> ColumnGuess:
    return ColumnGuess(
        name=evidence.name,
        role=Role.TARGET,
        reason=f"{name}: {claim.evidence}",
        task=name,
        multiple=claim.multiple,
        delimiter=claim.delimiter,
        over=claim.over,
    )

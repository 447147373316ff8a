"""The parts of an audit, in the order in which they are measured and shown; one maker adds one kind of part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from polysense.evaluation.audit.calibration import measure_calibration
from polysense.evaluation.audit.conformal import measure_conformal
from polysense.evaluation.audit.groups import ByColumns, measure_groups
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.audit.residuals import measure_residuals
from polysense.evaluation.audit.slices import measure_slices
from polysense.evaluation.audit.subsets import subsets
from polysense.evaluation.audit.thresholds import measure_thresholds
from polysense.workflows.audit.known_groups import known_group_parts
from polysense.workflows.audit.mistakes import measure_mistakes
from polysense.workflows.audit.novelty import novelty_parts
from polysense.workflows.audit.probing import probes
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.audit.temperatures import temperature_parts

__all__ = ["MAKERS", "PartMaker", "of_statistics"]

PartMaker: TypeAlias = Callable[[AuditSubject], Sequence[AuditPart]]
"""Measures one kind of part for every target that it applies to. It asks the subject's deadline before it does what
takes time, and notes what it leaves out."""


def of_statistics(make: Callable[[AuditInput], AuditPart | None]) -> PartMaker:
    """A maker of a part that needs no model.

    Args:
        make: The part of one target that has rows; None where it does not apply to its task.
    """

    def measure(subject: AuditSubject) -> list[AuditPart]:
        targets = [target for target in subject.evaluation.targets if subject.evaluation.num_counted(target.name)]
        parts = [make(subject.input(target)) for target in targets]
        return [part for part in parts if part is not None]

    return measure


def _subsets(subject: AuditSubject) -> list[AuditPart]:
    """What the contributions' subsets of columns say."""
    known = () if subject.contributions is None else subject.contributions.targets
    parts = [subsets(each) for each in known]
    return [part for part in parts if part is not None]


def _by_columns(subject: AuditSubject) -> list[AuditPart]:
    """The scores of each target by each of the columns that are named."""
    targets = [target for target in subject.evaluation.targets if subject.evaluation.num_counted(target.name)]
    return [
        ByColumns(
            target=target.name, columns=tuple(measure_groups(subject.input(target), column) for column in subject.by)
        )
        for target in (targets if subject.by else ())
    ]


MAKERS: tuple[PartMaker, ...] = (
    _subsets,
    of_statistics(measure_slices),
    _by_columns,
    known_group_parts,
    measure_mistakes,
    of_statistics(measure_calibration),
    temperature_parts,
    of_statistics(measure_conformal),
    of_statistics(measure_thresholds),
    of_statistics(measure_residuals),
    novelty_parts,
    # Last, for they take the time that is left.
    probes,
)

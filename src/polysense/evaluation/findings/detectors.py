"""All detectors, in the order in which their findings are listed where they weigh the same."""

from __future__ import annotations

from polysense.core.finding import Finding
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.cleanings import Cleanings
from polysense.evaluation.findings.column_roles import ColumnRoles
from polysense.evaluation.findings.conflicting_labels import ConflictingLabels
from polysense.evaluation.findings.detector import Detector
from polysense.evaluation.findings.drift import Drift
from polysense.evaluation.findings.duplicates import Duplicates, SharedCells
from polysense.evaluation.findings.few_of_a_kind import FewOfAKind
from polysense.evaluation.findings.joins import Joins
from polysense.evaluation.findings.label_errors import LabelErrors
from polysense.evaluation.findings.missing import Missing, UnreadableCells
from polysense.evaluation.findings.rare_classes import RareClasses
from polysense.evaluation.findings.shared_groups import SharedGroups
from polysense.evaluation.findings.spurious import SpuriousProperties

__all__ = ["DETECTORS", "detect_all"]

DETECTORS: tuple[Detector, ...] = (
    Duplicates(),
    SharedCells(),
    SharedGroups(),
    ConflictingLabels(),
    LabelErrors(),
    ColumnRoles(),
    RareClasses(),
    Drift(),
    SpuriousProperties(),
    FewOfAKind(),
    Joins(),
    Cleanings(),
    UnreadableCells(),
    Missing(),
)


def detect_all(checked: CheckedTable) -> list[Finding]:
    """Everything that detectors say of a table, the worst first."""
    findings = [finding for detector in DETECTORS for finding in detector.detect(checked)]
    return sorted(findings, key=lambda finding: finding.severity.rank)

"""Cleanings that would change cells: proposed with what each would do, and accepted by whoever copies the line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from polysense.core.finding import Finding, Severity
from polysense.evaluation.findings.checked import CheckedTable
from polysense.evaluation.findings.detector import Detector, counted

__all__ = ["Cleanings"]


class Cleanings(Detector):
    """Cells that a cleaning would change which touches nothing that a column is about."""

    kinds: ClassVar = {"cleaning": "cells that a cleaning would change, which the line in `action` asks for"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for proposal in checked.proposals:
            rows, table = checked.rows(proposal.positions)
            listed = "; ".join(
                f"{name} would change {counted(num, 'cell')} of {proposal.num_cells:,}, such as {before} to {after}"
                for name, num, before, after in proposal.changes
            )
            name = proposal.name if re.fullmatch(r"[^\W\d][\w-]*", proposal.name) else f"[{proposal.name}]"
            key = f"data.cleaning{name if name.startswith('[') else f'.{name}'}"
            yield Finding(
                kind="cleaning",
                severity=Severity.WARNING if proposal.is_target else Severity.INFO,
                columns=(proposal.column,),
                rows=tuple(sorted(rows)),
                table=table,
                message=f"{proposal.name}: {listed}",
                action=f"look at some of them; if they are dirt, add '{key}=[{', '.join(proposal.types)}]'",
            )

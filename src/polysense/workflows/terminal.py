"""The report's tables as plain text."""

from __future__ import annotations

import io

from rich.console import Console

from polysense.evaluation.report import Report
from polysense.evaluation.terminal import contribution_table, metrics_table

__all__ = ["report_text"]


def report_text(report: Report) -> str:
    """The scores beside what they must beat and, where measured, what each column contributed."""
    console = Console(file=io.StringIO(), width=110, force_terminal=False, color_system=None)
    for target in report.evaluation.targets:
        console.print(metrics_table(report, target))
    if report.contributions is not None:
        for found in report.contributions.targets:
            console.print(contribution_table(found))
        console.print(report.contributions.summary_sentence())
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip()

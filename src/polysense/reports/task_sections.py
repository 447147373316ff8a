"""A target's own sections of the report, which its task names."""

from __future__ import annotations

import importlib

from polysense.core.registry import task
from polysense.core.report_section import ReportSection
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.evaluator import Evaluation

__all__ = ["task_sections"]


def task_sections(target: Target, evaluation: Evaluation, baseline: Evaluation | None) -> list[ReportSection]:
    """The task's sections, in the order of the page.

    Args:
        target: Which.
        evaluation: Of the model.
        baseline: Of what knows the training labels alone, on the same rows; None where it was not measured.
    """
    named = task(target.task).report_section
    if isinstance(named, Unsupported):
        return []
    module, _, function = named.partition(":")
    sections: list[ReportSection] = vars(importlib.import_module(module))[function](target, evaluation, baseline)
    return sections

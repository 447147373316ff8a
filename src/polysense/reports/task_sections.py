"""A target's own sections of the report, which its task names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from polysense.core.registry import task
from polysense.core.report_section import ReportSection
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.evaluator import Evaluation

__all__ = ["named", "task_sections"]


def task_sections(target: Target, evaluation: Evaluation, baseline: Evaluation | None) -> list[ReportSection]:
    """The task's sections, in the order of the page.

    Args:
        target: Which.
        evaluation: Of the model.
        baseline: Of what knows the training labels alone, on the same rows; None where it was not measured.
    """
    where = task(target.task).report_section
    if isinstance(where, Unsupported):
        return []
    sections: list[ReportSection] = named(where)(target, evaluation, baseline)
    return sections


def named(where: str) -> Callable[..., Any]:
    """The function that a spec names as "module:function"."""
    module, _, function = where.partition(":")
    result: Callable[..., Any] = vars(importlib.import_module(module))[function]
    return result

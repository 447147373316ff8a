"""Ask a target's task for its own sections of the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from polysense.core.modality import Task
from polysense.core.report_section import ReportSection
from polysense.core.schema import Target
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.classification import report_section as classification
from polysense.tasks.generation import report_section as generation
from polysense.tasks.reconstruction import report_section as reconstruction
from polysense.tasks.tagging import report_section as tagging

__all__ = ["task_sections"]

_Sections: TypeAlias = Callable[[Target, Evaluation, Evaluation | None], list[ReportSection]]

# Until the tasks' specs name them.
_SECTIONS: dict[Task, _Sections] = {
    Task.CLASSIFICATION: classification.report_sections,
    Task.GENERATION: generation.report_sections,
    Task.RECONSTRUCTION: reconstruction.report_sections,
    Task.TAGGING: tagging.report_sections,
}


def task_sections(target: Target, evaluation: Evaluation, baseline: Evaluation | None) -> list[ReportSection]:
    """The task's sections, in the order of the page.

    Args:
        target: Which.
        evaluation: Of the model.
        baseline: Of what knows the training labels alone, on the same rows; None where it was not measured.
    """
    sections = _SECTIONS.get(target.task)
    return [] if sections is None else sections(target, evaluation, baseline)

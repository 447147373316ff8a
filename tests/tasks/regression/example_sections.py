"""A section of the report for every template of the task, for the test of hostile names."""

from __future__ import annotations

import numpy as np

from polysense.core.report_section import ReportSection
from polysense.evaluation.evaluator import score
from polysense.tasks.regression.record import RegressionTarget
from polysense.tasks.regression.report_section import report_sections

__all__ = ["example_sections"]


def example_sections(text: str) -> list[ReportSection]:
    """Intervals of a target and a column of that name."""
    target = RegressionTarget(name=text, columns=(text,), mean=(0.0,), std=(1.0,), interval=0.9)
    values = np.arange(4.0)[:, None]
    statistics = {
        "present": np.ones(4, dtype=bool), "truth": values, "predicted": values, "low": values - 1, "high": values + 1,
    }  # fmt: skip
    evaluation = score([target], np.arange(4), {text: statistics}, bootstrap=0)
    return report_sections(target, evaluation, None, None)

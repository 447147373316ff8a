"""How many values lie in the predicted intervals, in the report."""

from __future__ import annotations

import numpy as np

from polysense.core.binomial import binomial_interval
from polysense.core.report_section import ReportSection
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["report_sections"]


def report_sections(
    target: RegressionTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """Per column the coverage with its binomial interval and the intervals' median width; none without intervals."""
    statistics = evaluation.statistics[target.name]
    if "low" not in statistics:
        return []
    truth, low, high = statistics["truth"], statistics["low"], statistics["high"]
    rows = []
    for index, column in enumerate(target.columns):
        known = statistics["present"] & np.isfinite(truth[:, index]) & np.isfinite(low[:, index])
        inside = known & (truth[:, index] >= low[:, index]) & (truth[:, index] <= high[:, index])
        hits, total = int(inside.sum()), int(known.sum())
        if total:
            width = float(np.median(high[known, index] - low[known, index]))
            rows.append((column, hits / total, *binomial_interval(hits, total), total, width))
    values = {"target": target, "rows": rows}
    return [ReportSection(template="polysense.tasks.regression:report.html.j2", values=values)] if rows else []

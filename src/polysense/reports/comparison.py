"""Render comparison.html: the ranked table, and a plot of every training with the means' intervals."""

from __future__ import annotations

import math

from polysense.core.json import json_text
from polysense.evaluation.comparison import Comparison, Kind, Measure
from polysense.evaluation.significance import Outcome
from polysense.reports.charts import DotRow, dot_plot
from polysense.reports.environment import render

__all__ = ["render_comparison"]

_BADGES = {
    Outcome.BETTER: ("good", "✓"),
    Outcome.WORSE: ("bad", "✗"),
    Outcome.NONE: ("none", "–"),
    Outcome.CORRECTED: ("none", "–"),
    Outcome.NO_CLAIM: ("none", "?"),
}
_KINDS = {Kind.UNIMODAL: "one column", Kind.ENSEMBLE: "baseline", Kind.SIMPLE: "baseline", Kind.CONSTANT: "baseline"}


def render_comparison(comparison: Comparison) -> str:
    """The whole page as HTML."""
    return render(
        "comparison.html.j2",
        comparison=comparison,
        facts={
            "variants": str(sum(row.entry.kind is Kind.VARIANT for row in comparison.rows)),
            "training seeds": str(len(comparison.seeds)),
            "evaluated on": f"{comparison.split} rows",
            "selected on": "validation rows" if any(row.selected for row in comparison.rows) else "nothing",
        },
        first=comparison.measures[0],
        badges=_BADGES,
        kinds=_KINDS,
        plots=[_dots(comparison, measure) for measure in comparison.measures],
        settings=json_text(dict(comparison.settings), indent=1),
    )


def _dots(comparison: Comparison, measure: Measure) -> str:
    """A row for each variant: its seeds as small dots, the mean as a large one over its interval."""
    rows, reference = [], None
    for row in comparison.rows:
        mean = row.means[measure.key]
        if not math.isfinite(mean.value):
            continue
        if row.entry.name == comparison.reference:
            reference = mean.value
        dots = list(row.entry.measured(comparison.split, measure.key).values())
        color = "c0" if row.entry.kind is Kind.VARIANT else "c3"
        rows.append(DotRow(name=row.entry.name, dots=dots, mean=mean, color=color))
    direction = "higher" if measure.higher_is_better else "lower"
    return dot_plot(f"{measure.name} ({direction} is better)", rows, reference=reference)

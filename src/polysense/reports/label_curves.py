"""Show learning curves of labeling strategies: a page with a plot for each strategy, and a table for the terminal."""

from __future__ import annotations

import math

from markupsafe import Markup
from rich.table import Table

from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.label_curves import RANDOM, SHARE, LabelCurves, StrategyCurve
from polysense.evaluation.significance import Outcome
from polysense.reports.charts import Series, curve_chart
from polysense.reports.environment import render
from polysense.reports.numerals import number
from polysense.reports.terminal_tables import titled_table

__all__ = ["label_curves_table", "labels_text", "render_label_curves"]

_SHORT = {Outcome.BETTER: "better", Outcome.WORSE: "worse", Outcome.CORRECTED: "unclear"}

_MOST_MARKED = 8  # numbers along a plot's axis


def render_label_curves(result: LabelCurves) -> str:
    """The whole page as HTML."""
    compared = [curve for curve in result.curves if curve.strategy != RANDOM] or list(result.curves)
    return render(
        "label_curves.html.j2",
        result=result,
        share=f"{SHARE:.0%}",
        facts={
            "labels": result.target,
            "rows to label": f"{result.num_pool:,}",
            f"{result.split} rows": f"{result.num_tested:,}",
            "seeds": str(result.num_seeds),
            f"full {result.metric_name}": number(result.full.value),
        },
        plots=[_plot(result, curve) for curve in compared],
        lines=[(curve, labels_text(curve.labels_needed, result)) for curve in result.curves],
        positions=list(enumerate(result.numbers)),
    )


def label_curves_table(result: LabelCurves) -> Table:
    """Areas, their differences from random rows and the labels needed, for a terminal of 80 columns."""
    table = titled_table(f"{result.target}: {result.metric_name} by labels, {result.num_seeds} seeds")
    table.add_column("strategy", max_width=12)
    for name in ("area", "less random (95% CI)", f"labels for {SHARE:.0%}"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for curve in result.curves:
        gain, words = curve.gain, ""
        if gain is not None:
            words = f"{gain.value:+.3f}" + (f" ({gain.low:+.3f} {gain.high:+.3f})" if gain.has_bounds else "")
        outcome = "" if curve.outcome is None else _SHORT.get(curve.outcome, "")
        table.add_row(
            curve.strategy, number(curve.area.value), words, labels_text(curve.labels_needed, result), outcome
        )
    return table


def labels_text(needed: Interval, result: LabelCurves) -> str:
    """Labels that are needed, and their interval; above the largest number tried it says no more than that."""

    def spelled(value: float) -> str:
        return f"{round(value):,}" if math.isfinite(value) else f">{result.numbers[-1]:,}"

    if math.isnan(needed.low) or spelled(needed.low) == spelled(needed.high) == spelled(needed.value):
        return spelled(needed.value)
    return f"{spelled(needed.value)} ({spelled(needed.low)} to {spelled(needed.high)})"


def _plot(result: LabelCurves, curve: StrategyCurve) -> Markup:
    """One strategy beside random rows."""
    every = {each.strategy: each for each in result.curves}
    step = -(-len(result.numbers) // _MOST_MARKED)
    last = len(result.numbers) - 1
    positions = [
        (math.log2(value), f"{value:,}" if (last - i) % step == 0 else "") for i, value in enumerate(result.numbers)
    ]
    series = [Series(name=curve.strategy, color="c0", values=curve.scores)]
    if curve.strategy != RANDOM and RANDOM in every:
        series.append(Series(name=f"{RANDOM} rows", color="c3", values=every[RANDOM].scores))
    references = [("all labels", result.full.value), (f"{SHARE:.0%}", result.goal)]
    return curve_chart(f"{curve.strategy}: {result.metric_name} by labels", positions, series, references=references)

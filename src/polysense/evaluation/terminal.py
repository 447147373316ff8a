"""The report's first table, for a terminal."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from polysense.core.modality import Task
from polysense.core.schema import Target
from polysense.evaluation.baselines import baseline_name
from polysense.evaluation.page import number
from polysense.evaluation.report import Report, headline_metrics
from polysense.evaluation.verdict import TargetContributions, amount, unit

__all__ = ["contribution_table", "metrics_table"]


def metrics_table(report: Report, target: Target) -> Table:
    """The model's headline metrics over their intervals, then what it must beat; fits 80 characters."""
    evaluation = report.evaluation
    # A text's have short names, and the error rate is the last that is looked for.
    infos = headline_metrics(target, evaluation.texts.get(target.name))[: 6 if target.task is Task.GENERATION else 5]
    title = f"{target.name}: {evaluation.num_counted(target.name):,} {report.split} rows"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", max_width=24)
    for info in infos:
        arrow = "↑" if info.higher_is_better else "↓"
        # The arrow hangs on the last word: on a line of its own it would belong to nothing.
        table.add_column(f"{info.name.replace('_', ' ')}\N{NO-BREAK SPACE}{arrow}", justify="right")
    own = [evaluation.metrics[target.name][info.name] for info in infos]
    table.add_row("this model", *(number(found.value) for found in own), style="bold")
    if evaluation.num_resamples:
        level = f"{100 * evaluation.confidence:g}% interval"
        for name, bounds in ((f"{level} from", [found.low for found in own]), ("to", [found.high for found in own])):
            table.add_row(name, *(number(bound) for bound in bounds), style="dim")
    for name, other in report.comparisons.items():
        values = (number(other.value(target.name, info.name)) for info in infos)
        table.add_row(escape(baseline_name(name, target)), *values)
    return table


def contribution_table(found: TargetContributions) -> Table:
    """What each column contributed, the largest share first."""
    measure = found.measures[0]
    table = Table(
        title=f"{escape(found.target)}: what each column contributes ({found.num_rows:,} rows)",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("column", max_width=30)
    table.add_column("", no_wrap=True)
    for head in (unit(measure), "interval", "alone", "without it"):
        table.add_column(head, justify="right", no_wrap=head == "interval")
    styles = {"helps": "green", "hurts": "red"}
    for column in found.ranked:
        share = column.shapley[measure]
        style = styles.get(column.verdict.value, "dim")
        bounds = f"{amount(measure, share.low)} to {amount(measure, share.high)}" if share.has_bounds else "–"
        table.add_row(
            f"{escape(column.name)} [dim]{column.modality.value}[/dim]",
            f"[{style}]{column.verdict.value}[/{style}]",
            amount(measure, share.value) if math.isfinite(share.value) else "–",
            bounds,
            number(column.alone[measure].value),
            number(column.without[measure].value),
        )
    return table

"""Print results in a terminal: the metrics beside the baselines', and the columns' importance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from polysense.core.metric import Metric
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.escaping import joined
from polysense.evaluation.baselines import baseline_name
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import TargetContributions, amount
from polysense.evaluation.target_metrics import reported_metrics
from polysense.reports.numerals import number
from polysense.reports.report import Report, model_name, trained_alone
from polysense.reports.terminal_tables import escape, plain_text, titled_table
from polysense.reports.wrapping import WIDTH, shortened, wrapped

__all__ = ["importance_table", "metrics_table", "report_text"]

_NAME_WIDTH = 23
_COLUMN_WIDTH = 18


def report_text(report: Report, *, verdict: bool = True) -> str:
    """The report in 80 columns: the verdict in words, metrics beside the baselines', and the columns' importance.

    Args:
        report: What to say.
        verdict: Whether to say what is to be made of it; not for rows whose scores stand beside others'.
    """
    lines = [line for one in report.verdicts for line in [*wrapped(one.sentence()), ""]] if verdict else []
    lines += plain_text(*(metrics_table(report, target) for target in report.evaluation.targets)).splitlines()
    if report.contributions is not None:
        tables = [importance_table(one, trained_alone(report, one)) for one in report.contributions.targets]
        lines += ["", *plain_text(*tables).splitlines()]
        lines += ["", *wrapped(report.contributions.summary_sentence())]
    if verdict:
        remarks = dict.fromkeys(remark for one in report.verdicts for remark in one.caveats())
        steps = dict.fromkeys(step for one in report.verdicts for step in one.next_steps())
        lines += ["", *(line for remark in remarks for line in wrapped(remark))] if remarks else []
        lines += ["", *(line for step in steps for line in wrapped(f"next: {step}", hanging="      "))] if steps else []
    return joined(lines)


def metrics_table(report: Report, target: Target) -> Table:
    """The model's headline metrics over their intervals, then the baselines'; fits 80 characters."""
    evaluation = report.evaluation
    infos = _fitting(reported_metrics(target, evaluation.statistics[target.name]))
    counted = evaluation.num_counted(target.name)
    rows = f"{counted:,} {report.split} rows"
    if counted < evaluation.num_rows:
        # A label that training did not know is one too: a score without such rows is none of the table.
        left = evaluation.num_rows - counted
        have = "has" if left == 1 else "have"
        rows = (
            f"{counted:,} of {evaluation.num_rows:,} {report.split} rows ({left:,} more {have} "
            f"{task(target.task).absence(target)} that can be scored)"
        )
    table = titled_table(f"{target.name}: {rows}")
    table.add_column("", max_width=_NAME_WIDTH)
    for info in infos:
        arrow = "↑" if info.higher_is_better else "↓"
        # The arrow hangs on the last word: on a line of its own it would belong to nothing.
        table.add_column(f"{info.name.replace('_', ' ')}\N{NO-BREAK SPACE}{arrow}", justify="right")
    own = [evaluation.metrics[target.name][info.name] for info in infos]
    table.add_row(model_name(report.num_columns), *(number(value.value) for value in own), style="bold")
    if evaluation.num_resamples:
        level = f"{100 * evaluation.confidence:g}% CI"
        table.add_row(f"{level} low", *(number(value.low) for value in own), style="dim")
        table.add_row(f"{level} high", *(number(value.high) for value in own), style="dim")
    for name, other in report.comparisons.items():
        values = (number(other.value(target.name, info.name)) for info in infos)
        table.add_row(escape(baseline_name(name, target)), *values)
    return table


def importance_table(contribution: TargetContributions, trained_alone: Mapping[str, Interval]) -> Table:
    """What is lost without each column, and what it gives by itself in both senses, by verdict; fits 80 characters.

    Args:
        contribution: Of a target.
        trained_alone: By column the score of a model of it alone.
    """
    measure = contribution.measures[0]
    rows = f"({contribution.num_rows:,} rows)"
    table = titled_table(f"{contribution.target}: column importance {rows}")
    table.add_column("column", no_wrap=True)
    table.add_column("", no_wrap=True)
    # Heads break where they have to for 80 characters; no value does.
    unit = f"\n({measure.unit})" if measure.unit else ""
    heads = [f"drop when\nremoved{unit}", "95% CI", f"Shapley\nvalue{unit}", "others\nmasked"]
    for head in [*heads, *(["trained\nalone"] if trained_alone else [])]:
        table.add_column(head, justify="right", no_wrap=True)
    styles = {"helps": "green", "hurts": "red"}
    for column in contribution.ranked:
        drop, share = column.drop[measure], column.shapley[measure]
        style = styles.get(column.verdict.value, "dim")
        between = f"{amount(measure, drop.low)} to {amount(measure, drop.high)}" if drop.has_bounds else "–"
        alone = [number(trained_alone[column.name].value)] if column.name in trained_alone else ["–"]
        table.add_row(
            escape(shortened(column.name, _COLUMN_WIDTH)),
            f"[{style}]{column.verdict.value}[/{style}]",
            amount(measure, drop.value) if math.isfinite(drop.value) else "–",
            between,
            amount(measure, share.value) if math.isfinite(share.value) else "–",
            number(column.only_this[measure].value),
            *(alone if trained_alone else []),
        )
    return table


def _fitting(infos: Sequence[Metric]) -> list[Metric]:
    """The first metrics, as many as fit beside the names."""
    fitting, width = [], _NAME_WIDTH
    for info in infos:
        *words, last = info.name.split("_")
        width += 2 + max(6, *map(len, words), len(last) + 2)
        if width > WIDTH:
            break
        fitting.append(info)
    return fitting

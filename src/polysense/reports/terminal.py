"""Print results in a terminal: the metrics beside the baselines', and the columns' importance."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.cells import cell_len
from rich.table import Table

from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.wrapping import WIDTH, shortened, wrapped
from polysense.escaping import joined
from polysense.evaluation.baselines import baseline_name
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import ColumnContribution, TargetContributions, amount
from polysense.evaluation.target_metrics import reported_metrics
from polysense.reports.numerals import number
from polysense.reports.report import Report, model_name, trained_alone
from polysense.reports.terminal_tables import escape, plain_text, titled_table

__all__ = ["importance_table", "metrics_table", "report_text"]

_NAME_WIDTH = 28
_COLUMN_WIDTH = 15


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
    names, styles = [model_name(report.num_columns)], ["bold"]
    if evaluation.num_resamples:
        level = f"{100 * evaluation.confidence:g}% CI"
        names, styles = [*names, f"{level} low", f"{level} high"], [*styles, "dim", "dim"]
    names += [baseline_name(name, target) for name in report.comparisons]
    name_width = min(_NAME_WIDTH, max(map(cell_len, names)))
    columns, width = list[tuple[str, list[str]]](), name_width
    for info in reported_metrics(target, evaluation.statistics[target.name]):
        own = evaluation.metrics[target.name][info.name]
        values = [own.value, own.low, own.high] if evaluation.num_resamples else [own.value]
        values += [other.value(target.name, info.name) for other in report.comparisons.values()]
        # The arrow hangs on the last word: on a line of its own it would belong to nothing.
        head = info.name.replace("_", "\n") + (
            "\N{NO-BREAK SPACE}↑" if info.higher_is_better else "\N{NO-BREAK SPACE}↓"
        )
        cells = list(map(number, values))
        width += 2 + max(map(cell_len, (*head.splitlines(), *cells)))
        if width > WIDTH - 2:
            break
        columns.append((head, cells))
    table = titled_table(f"{target.name}: {rows}")
    table.padding = (0, 1, 0, 0)  # two characters between columns, with the box's own; a text has seven metrics
    table.add_column("", width=name_width)
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for i, name in enumerate(names):
        style = styles[i] if i < len(styles) else ""
        table.add_row(escape(name), *(cells[i] for _, cells in columns), style=style)
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
    table.padding = (0, 1, 0, 0)  # seven columns have to fit
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
            escape(_short_name(column)),
            f"[{style}]{column.verdict.value}[/{style}]",
            amount(measure, drop.value) if math.isfinite(drop.value) else "–",
            between,
            amount(measure, share.value) if math.isfinite(share.value) else "–",
            number(column.only_this[measure].value),
            *(alone if trained_alone else []),
        )
    return table


def _short_name(column: ColumnContribution) -> str:
    """A column's name in its place; of several the number of the others stays whole."""
    if not column.is_group:
        return shortened(column.name, _COLUMN_WIDTH)
    others = f" + {len(column.members) - 1:,} more"
    return shortened(next(iter(column.members)), max(2, _COLUMN_WIDTH - len(others))) + others

"""Print results in a terminal: the metrics beside the baselines', and the columns' importance."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from rich import markup
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from polysense.core.metric import Metric
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.escaping import visible
from polysense.evaluation.baselines import baseline_name
from polysense.evaluation.contribution_result import TargetContributions, amount
from polysense.evaluation.target_metrics import reported_metrics
from polysense.reports.numerals import number
from polysense.reports.report import Report, model_name

__all__ = ["escape", "importance_table", "metrics_table", "plain_text", "report_text", "titled_table"]

_WIDTH = 110
_NARROW = 80
_NAME_WIDTH = 24


def report_text(report: Report) -> str:
    """The report's tables as plain text: metrics beside the baselines' and, where measured, the columns' importance."""
    parts: list[RenderableType] = [metrics_table(report, target) for target in report.evaluation.targets]
    parts += [escape(each.sentence()) for each in report.simple_baselines.values()]
    if report.contributions is not None:
        parts += map(importance_table, report.contributions.targets)
        parts.append(escape(report.contributions.summary_sentence()))
    return plain_text(*parts)


def escape(text: str) -> str:
    """A name or a sentence as a part of rich's markup: it is one line, and none of it counts as markup."""
    return markup.escape(visible(text))


def plain_text(*parts: RenderableType, width: int = _WIDTH) -> str:
    """Tables and texts (in rich's markup) as lines without color."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False, color_system=None).print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip()


def titled_table(title: str) -> Table:
    """An empty table below a title, which is no markup."""
    return Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)


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


def importance_table(contribution: TargetContributions) -> Table:
    """What is lost without each column and what it gives alone, by verdict."""
    measure = contribution.measures[0]
    rows = f"({contribution.num_rows:,} rows)"
    table = titled_table(f"{contribution.target}: column importance {rows}")
    table.add_column("column", max_width=30)
    table.add_column("", min_width=12)
    # Heads break where they have to for 80 characters; no value does.
    unit = f"\n({measure.unit})" if measure.unit else ""
    for head in (f"drop when\nremoved{unit}", "95% CI", f"Shapley\nvalue{unit}", "only this\ncolumn"):
        table.add_column(head, justify="right", no_wrap=True)
    styles = {"helps": "green", "hurts": "red"}
    for column in contribution.ranked:
        drop, share = column.drop[measure], column.shapley[measure]
        style = styles.get(column.verdict.value, "dim")
        between = f"{amount(measure, drop.low)} to {amount(measure, drop.high)}" if drop.has_bounds else "–"
        table.add_row(
            f"{escape(column.name)} [dim]{escape(column.modality)}[/dim]",
            f"[{style}]{column.verdict.value}[/{style}]",
            amount(measure, drop.value) if math.isfinite(drop.value) else "–",
            between,
            amount(measure, share.value) if math.isfinite(share.value) else "–",
            number(column.only_this[measure].value),
        )
    return table


def _fitting(infos: Sequence[Metric]) -> list[Metric]:
    """The first metrics, as many as fit beside the names."""
    fitting, width = [], _NAME_WIDTH
    for info in infos:
        *words, last = info.name.split("_")
        width += 2 + max(6, *map(len, words), len(last) + 2)
        if width > _NARROW:
            break
        fitting.append(info)
    return fitting

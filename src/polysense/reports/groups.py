"""Print scores by a column in a terminal: a line for each group, the worst one marked."""

from __future__ import annotations

from rich.table import Table

from polysense.core.wrapping import wrapped
from polysense.evaluation.audit.groups import Groups
from polysense.reports.numerals import number
from polysense.reports.terminal_tables import escape, plain_text, titled_table

__all__ = ["groups_text"]

_MOST_METRICS = 2


def groups_text(groups: Groups) -> str:
    """The table and its finding; fits 80 characters."""
    lines = [line for finding in groups.findings() for line in wrapped(finding)]
    return "\n".join([plain_text(_table(groups)), *lines])


def _table(groups: Groups) -> Table:
    table = titled_table(f"{groups.target} by {groups.column}")
    table.add_column("", max_width=24)
    table.add_column("rows", justify="right")
    others = [metric for metric in groups.reported if metric.name != groups.metric.name]
    infos = [groups.metric, *others[: _MOST_METRICS - 1]]
    for index, info in enumerate(infos):
        arrow = "↑" if info.higher_is_better else "↓"
        table.add_column(f"{info.name.replace('_', ' ')}\N{NO-BREAK SPACE}{arrow}", justify="right")
        if not index:
            table.add_column(f"{100 * groups.confidence:g}% CI", justify="right", no_wrap=True)
    for group in groups.groups:
        name = escape(group.value) + (" (worst)" if group.value == groups.worst else "")
        cells = ["too few"]
        if group.metrics:
            own = group.metrics[groups.metric.name]
            bounds = f"{number(own.low)} to {number(own.high)}" if own.has_bounds else "–"
            cells = [number(own.value), bounds, *(number(group.metrics[info.name].value) for info in infos[1:])]
        table.add_row(name, f"{group.num:,}", *cells)
    return table

"""The comparison as tables for a terminal."""

from __future__ import annotations

import math
import textwrap

from rich.box import SIMPLE_HEAD
from rich.table import Table

from polysense.escaping import joined
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.comparison import Comparison, Finding, Kind, Measure, Row
from polysense.reports.numerals import count, number, signed
from polysense.reports.terminal import escape, plain_text, titled_table

__all__ = ["comparison_text"]

_WIDTH = 120


def comparison_text(comparison: Comparison) -> str:
    """Ranking, other metrics and costs, and notes on them."""
    failures = [escape(f"{row.entry.name}: {row.failure}") for row in comparison.rows if row.failure is not None]
    tables = plain_text(_ranking(comparison, comparison.measures[0]), _others(comparison), *failures, width=_WIDTH)
    notes = [line for note in comparison.notes for line in textwrap.wrap(note, _WIDTH)]
    return joined([*tables.splitlines(), "", *notes]).strip()


def _ranking(comparison: Comparison, measure: Measure) -> Table:
    arrow = "↑" if measure.higher_is_better else "↓"
    seeds = f"{len(comparison.seeds)} seed{'s' if len(comparison.seeds) > 1 else ''}"
    table = titled_table(f"{measure.name} {arrow} on the {comparison.split} rows, {seeds}")
    table.add_column("", justify="right")
    table.add_column("", max_width=30, overflow="fold")
    table.add_column("mean", justify="right")
    table.add_column("interval", no_wrap=True)
    table.add_column("difference", justify="right")
    table.add_column("interval", no_wrap=True)
    table.add_column("", no_wrap=True)
    for rank, row in enumerate(comparison.rows, 1):
        result = row.means[measure.key]
        cells = [number(result.value), _bounds(result), "", "", ""]
        difference = row.differences.get(measure.key)
        if row.entry.name == comparison.reference:
            cells[4] = "selected on validation" if row.selected else "reference"
        elif difference is not None:
            cells[2:] = [signed(difference.mean.value), _bounds(difference.mean, sign=True), difference.finding.value]
        elif not math.isfinite(result.value):
            cells[4] = "failed"
        style = "bold" if row.selected else "dim" if row.entry.kind is not Kind.VARIANT else ""
        place = str(rank) if math.isfinite(result.value) else "–"
        table.add_row(place, escape(row.entry.name), *cells, style=style)
    return table


def _others(comparison: Comparison) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", max_width=30, overflow="fold")
    if any(row.validation for row in comparison.rows) and comparison.split != "validation":
        table.add_column("on validation", justify="right")
    for measure in comparison.measures[1:]:
        table.add_column(f"{measure.name}\N{NO-BREAK SPACE}{'↑' if measure.higher_is_better else '↓'}", justify="right")
    for name in ("parameters", "seconds", "samples/s"):
        table.add_column(name, justify="right")
    for row in comparison.rows:
        cells = [escape(row.entry.name)]
        if len(table.columns) == len(comparison.measures) + 4:
            result = row.validation.get(comparison.measures[0].key)
            cells.append("" if result is None else number(result.value))
        cells += [_marked(row, measure) for measure in comparison.measures[1:]]
        cells += [count(row.entry.facts.get(name)) for name in ("parameters", "seconds", "samples_per_second")]
        table.add_row(*cells)
    return table


def _marked(row: Row, measure: Measure) -> str:
    """A mean, with a sign where it is better or worse than the reference's."""
    signs = {Finding.BETTER: " +", Finding.WORSE: " −"}
    difference = row.differences.get(measure.key)
    return number(row.means[measure.key].value) + ("" if difference is None else signs.get(difference.finding, "  "))


def _bounds(interval: Interval, *, sign: bool = False) -> str:
    listed = signed if sign else number
    return f"{listed(interval.low)} to {listed(interval.high)}" if interval.has_bounds else ""

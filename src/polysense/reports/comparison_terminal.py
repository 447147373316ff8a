"""The comparison as tables for a terminal."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.table import Table

from polysense.core.wrapping import wrapped
from polysense.escaping import joined
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.comparison import Comparison, Kind, Measure, Row
from polysense.evaluation.significance import Outcome
from polysense.reports.numerals import count, number, signed
from polysense.reports.terminal_tables import escape, plain_text, titled_table

__all__ = ["comparison_text"]

_NAME_WIDTH = 24
_MEASURES_IN_A_TABLE = 3  # that fit beside names and costs
_RANK_WIDTH = 4


def comparison_text(comparison: Comparison) -> str:
    """Ranking, other metrics and costs, and notes on them; fits 80 characters."""
    failures = [line for row in comparison.rows if row.failure for line in _failure(row)]
    tables = plain_text(_ranking(comparison, comparison.measures[0]), *_others(comparison))
    notes = [line for note in comparison.notes for line in wrapped(note)]
    return joined([*tables.splitlines(), *(["", *failures] if failures else []), "", *notes]).strip()


def _failure(row: Row) -> list[str]:
    return wrapped(f"{row.entry.name}: {row.failure}", hanging="  ")


def _ranking(comparison: Comparison, measure: Measure) -> Table:
    arrow = "↑" if measure.higher_is_better else "↓"
    seeds = f"{len(comparison.seeds)} seed{'s' if len(comparison.seeds) > 1 else ''}"
    table = titled_table(f"{measure.name} {arrow} on the {comparison.split} rows, {seeds}")
    table.add_column("", justify="right", width=_RANK_WIDTH)
    table.add_column("", max_width=_NAME_WIDTH, overflow="fold")
    table.add_column("mean\n95% CI", justify="right", no_wrap=True)
    table.add_column("difference\n95% CI", justify="right", no_wrap=True)
    table.add_column("", max_width=14)
    for rank, row in enumerate(comparison.rows, 1):
        result = row.means[measure.key]
        cells = [_over(number(result.value), _bounds(result)), "", ""]
        difference = row.differences.get(measure.key)
        if row.entry.name == comparison.reference:
            cells[2] = "selected on validation" if row.selected else "reference"
        elif difference is not None:
            signed_bounds = _bounds(difference.mean, sign=True)
            cells[1:] = [_over(signed(difference.mean.value), signed_bounds), difference.outcome.value]
        elif not math.isfinite(result.value):
            cells[2] = "failed"
        style = "bold" if row.selected else "dim" if row.entry.kind is not Kind.VARIANT else ""
        place = str(rank) if math.isfinite(result.value) else "–"
        table.add_row(place, escape(row.entry.name), *cells, style=style)
    return table


def _others(comparison: Comparison) -> list[Table]:
    """The other metrics, as many in a table as fit, and the costs."""
    others = comparison.measures[1:]
    with_validation = any(row.validation for row in comparison.rows) and comparison.split != "validation"
    tables = []
    for start in range(0, len(others), _MEASURES_IN_A_TABLE):
        tables.append(_named_rows())
        for measure in others[start : start + _MEASURES_IN_A_TABLE]:
            arrow = "↑" if measure.higher_is_better else "↓"
            tables[-1].add_column(
                f"{measure.name.replace('_', ' ')}\N{NO-BREAK SPACE}{arrow}", justify="right", max_width=16
            )
        for row in comparison.rows:
            marks = [_marked(row, measure) for measure in others[start : start + _MEASURES_IN_A_TABLE]]
            tables[-1].add_row(escape(row.entry.name), *marks)
    costs = _named_rows()
    heads = [*(["on\nvalidation"] if with_validation else []), "parameters", "seconds", "samples/s"]
    for head in heads:
        costs.add_column(head, justify="right", no_wrap=True)
    for row in comparison.rows:
        cells = [count(row.entry.facts.get(name)) for name in ("parameters", "seconds", "samples_per_second")]
        if with_validation:
            result = row.validation.get(comparison.measures[0].key)
            cells.insert(0, "" if result is None else number(result.value))
        costs.add_row(escape(row.entry.name), *cells)
    return [*tables, costs]


def _named_rows() -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", max_width=_NAME_WIDTH, overflow="fold")
    return table


def _over(value: str, bounds: str) -> str:
    return f"{value}\n{bounds}" if bounds else value


def _marked(row: Row, measure: Measure) -> str:
    """A mean, with a sign where it is better or worse than the reference's."""
    signs = {Outcome.BETTER: " +", Outcome.WORSE: " −"}
    difference = row.differences.get(measure.key)
    return number(row.means[measure.key].value) + ("" if difference is None else signs.get(difference.outcome, "  "))


def _bounds(interval: Interval, *, sign: bool = False) -> str:
    listed = signed if sign else number
    return f"{listed(interval.low)} to {listed(interval.high)}" if interval.has_bounds else ""

"""The page of a check: findings first, then classes, what each column is and why, and what its cells are like."""

from __future__ import annotations

from collections.abc import Sequence

from polysense.core.finding import Severity
from polysense.evaluation.bootstrap import Interval
from polysense.reports.charts import interval_bar
from polysense.reports.check import Check
from polysense.reports.column_facts import ColumnFacts
from polysense.reports.environment import render
from polysense.reports.histogram import histogram
from polysense.reports.numerals import compact

__all__ = ["render_check"]

_MOST_CLASSES = 40
_MOST_ROWS = 200  # that a finding lists on the page


def render_check(check: Check, columns: Sequence[ColumnFacts], num_inputs: int) -> str:
    """The whole page as HTML.

    Args:
        check: What was found.
        columns: What is shown of the inputs.
        num_inputs: How many inputs there are.
    """
    numbers = {severity: sum(each.severity is severity for each in check.findings) for severity in Severity}
    classes = []
    for target, counts in check.classes.items():
        ordered = sorted(counts.items(), key=lambda pair: -pair[1])
        scale = (0.0, float(max(counts.values(), default=1)))
        classes.append(
            (
                target,
                [
                    (name, count, interval_bar(Interval(float(count)), scale, label=f"{count:,} rows"))
                    for name, count in ordered[:_MOST_CLASSES]
                ],
            )
        )
    return render(
        "check.html.j2",
        check=check,
        compact=compact,
        facts={
            "rows": f"{check.num_rows:,}",
            "columns": f"{len(check.columns):,}",
            "split": ", ".join(f"{num:,} {name}" for name, num in check.splits.items()) or "none",
            "rows decoded": f"{check.num_tried:,}",
            **{
                f"{severity}s" if severity is not Severity.INFO else "notes": f"{numbers[severity]:,}"
                for severity in Severity
            },
        },
        classes=classes,
        columns=columns,
        num_more=max(num_inputs - len(columns), 0),
        badges={Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "mute"},
        signs={Severity.ERROR: "✗", Severity.WARNING: "!", Severity.INFO: "i"},
        most_rows=_MOST_ROWS,
        histogram=histogram,
        note="Numbers about decoded cells are of the rows decoded, which are spread evenly over the table.",
    )

"""Draw an audit's curves: the score by the rate of missing cells, and by the severity of damage."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from polysense.evaluation.audit.corruptions import Damage
from polysense.evaluation.audit.missing_rates import MissingRates
from polysense.evaluation.bootstrap import Interval
from polysense.reports.charts import Series, curve_chart

__all__ = ["rates", "severities"]


def rates(part: MissingRates) -> Markup:
    """The model's score by the share of cells that are missing, beside that of the best column that is left."""
    lines = [Series(name="model", color="c0", values=part.model)]
    if part.best_column:
        lines.append(Series(name="best column left", color="c1", values=part.best_column))
    positions = [(rate, f"{rate:.0%}" if not round(10 * rate) % 2 else "") for rate in part.rates]
    return curve_chart(f"{part.measure.label} by the share of missing cells", positions, lines)


def severities(column: str, clean: Interval, damages: Sequence[Damage]) -> Markup:
    """A column's score by severity, a line for each of up to four corruptions of the same severities.

    Args:
        column: Which one.
        clean: The score without damage.
        damages: At most four.
    """
    levels = damages[0].severities
    lines = [
        Series(name=each.corruption, color=f"c{i}", values=[clean, *each.scores]) for i, each in enumerate(damages)
    ]
    positions = [(0.0, "none"), *((float(level), str(level)) for level in levels)]
    return curve_chart(f"{column} by severity", positions, lines)

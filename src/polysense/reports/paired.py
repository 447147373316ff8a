"""Print two models' scores on the same rows in a terminal: a line for each metric that both have."""

from __future__ import annotations

from rich.table import Table

from polysense.core.wrapping import wrapped
from polysense.evaluation.paired import PairedScores
from polysense.evaluation.significance import Outcome
from polysense.reports.numerals import number, signed
from polysense.reports.terminal_tables import plain_text, titled_table

__all__ = ["paired_text"]

_LEAST = 0.0005
_WORDS = {
    Outcome.BETTER: "better",
    Outcome.WORSE: "worse",
    Outcome.NONE: "no difference",
    Outcome.NO_CLAIM: "no claim",
}


def paired_text(scores: PairedScores) -> str:
    """The model, the other one, and the difference of the two; fits 80 characters."""
    title = f"{scores.target}: this model against {scores.other}, paired"
    if not scores.metrics:
        return "\n".join(wrapped(f"{title}: there is no row, or no metric, that both can be scored by."))
    return plain_text(_table(scores, f"{title} ({scores.num_rows:,} rows)"))


def _table(scores: PairedScores, title: str) -> Table:
    table = titled_table(title)
    table.padding = (0, 1, 0, 0)
    table.add_column("")
    for head in ("this", "other", "difference", f"{100 * scores.confidence:g}% CI"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("this is", no_wrap=True)
    for each in scores.metrics:
        arrow = "↑" if each.metric.higher_is_better else "↓"
        low, high = _exact(each.difference.low), _exact(each.difference.high)
        table.add_row(
            f"{each.metric.name.replace('_', ' ')}\N{NO-BREAK SPACE}{arrow}",
            number(each.value),
            number(each.other),
            _exact(each.difference.value),
            f"{low} to {high}" if each.difference.has_bounds else "–",
            _WORDS[each.outcome],
        )
    return table


def _exact(difference: float) -> str:
    """With its sign; what three decimals would show as nothing, though it is not, in one digit."""
    return f"{difference:+.0e}".replace("-", "−") if 0 < abs(difference) < _LEAST else signed(difference)

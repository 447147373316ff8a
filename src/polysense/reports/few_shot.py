"""Show few-shot results: a page with a plot for each method, and a table for the terminal."""

from __future__ import annotations

import math

from markupsafe import Markup
from rich.table import Table

from polysense.evaluation.few_shot import RANDOM, TRAINED, FewShot, method_name
from polysense.reports.charts import Series, shot_chart
from polysense.reports.environment import render
from polysense.reports.numerals import number
from polysense.reports.terminal_tables import titled_table

__all__ = ["few_shot_table", "render_few_shot"]

_CLOSE = 0.06  # of the axis: two reference lines' names would cover one another


def render_few_shot(result: FewShot) -> str:
    """The whole page as HTML."""
    return render(
        "few_shot.html.j2",
        result=result,
        facts={
            "labels": result.target,
            "classes": str(len(result.classes)),
            "training rows to sample from": f"{sum(result.class_counts):,}",
            f"{result.split} rows": f"{result.num_test:,}",
            "samples": str(result.num_draws),
        },
        plots=[_plot(result, method) for method in result.methods],
        lines=[
            (f"{method_name(method)}, {_shots_name(shots)}", result.score(TRAINED, method, shots),
             result.score(RANDOM, method, shots))
            for method in result.methods
            for shots in result.shots
        ],
    )  # fmt: skip


def few_shot_table(result: FewShot) -> Table:
    """Accuracies by method (rows) and shots (columns), for a terminal."""
    table = titled_table(
        f"{result.target}: accuracy on {result.num_test:,} {result.split} rows, mean over {result.num_draws} samples"
    )
    table.add_column("labeled rows per class", max_width=28)
    for shots in result.shots:
        table.add_column(_shots_name(shots), justify="right", no_wrap=True)
    for method in result.methods:
        for encoder in (TRAINED, RANDOM):
            values = [result.score(encoder, method, shots).accuracy for shots in result.shots]
            bold = encoder == TRAINED
            name = method_name(method) if bold else f"  {RANDOM}"
            table.add_row(name, *(number(one.value) for one in values), style="bold" if bold else "dim")
            if bold and any(one.has_bounds for one in values):
                table.add_row("  95% CI low", *(number(one.low) for one in values), style="dim")
                table.add_row("  95% CI high", *(number(one.high) for one in values), style="dim")
            if bold and None in result.shots and len(set(result.class_counts)) > 1:
                even = [result.score(encoder, method, shots).balanced.value for shots in result.shots]
                table.add_row("  balanced accuracy", *map(number, even))
    table.add_row("majority class", *(number(result.majority) for _ in result.shots))
    table.add_row("chance", *(number(result.chance) for _ in result.shots))
    return table


def _plot(result: FewShot, method: str) -> Markup:
    """One method: the trained encoder, the random one, and two reference lines. All plots have one scale."""
    scores = [score.accuracy for score in result.scores]
    values = [v for a in scores for v in (a.value, a.low, a.high) if math.isfinite(v)]
    high = min(1.0, max([*values, result.majority, result.chance]) * 1.05)
    references = [("majority class", result.majority), ("chance", result.chance)]
    if abs(result.majority - result.chance) < _CLOSE * high:
        references = [("baselines", result.majority)]
    # Side by side, so that the whiskers of one do not hide the other's.
    series = [
        Series(
            name=encoder,
            color=color,
            values=[result.score(encoder, method, shots).accuracy for shots in result.shots],
            shift=shift,
        )
        for encoder, color, shift in ((TRAINED, "c0", -3.0), (RANDOM, "c3", 3.0))
    ]
    return shot_chart(method_name(method), [_shots_name(shots) for shots in result.shots], series, references, high)


def _shots_name(shots: int | None) -> str:
    return "all" if shots is None else str(shots)

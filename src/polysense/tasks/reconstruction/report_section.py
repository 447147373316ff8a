"""Restored columns one by one: errors beside the mean predictor's, and what the row's other columns know of each."""

from __future__ import annotations

from polysense.core.schema import Target
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.page import span, table, text

__all__ = ["restored_section"]


def restored_section(target: Target, evaluation: Evaluation, mean: Evaluation | None) -> str:
    """A line for each column on the page.

    Args:
        target: What is restored.
        evaluation: Of the model.
        mean: Of the mean predictor, on the same rows.
    """
    found = evaluation.metrics[target.name]
    reasons = evaluation.undefined[target.name]
    rows = []
    for name in target.members:
        keys = [f"{kind}/{name}" for kind in ("skill", "filled_skill", "error", "filled_error")]
        cells = [span(found[key], reason=reasons.get(key, "")) for key in keys]
        cells.append("–" if mean is None else span(mean.metrics[target.name][f"error/{name}"]))
        keys = [f"{kind}/{name}" for kind in ("accuracy", "filled_accuracy")]
        cells += [span(found[key], reason=reasons.get(key, "")) for key in keys]
        cells.append("–" if mean is None else span(mean.metrics[target.name][f"accuracy/{name}"]))
        rows.append([text(name), *cells])
    heads = [
        "column",
        "skill ↑",
        "filled ↑",
        "error ↓",
        "filled ↓",
        "mean's ↓",
        "accuracy ↑",
        "filled ↑",
        "most frequent ↑",
    ]
    note = (
        "Skill: the share of the mean predictor's error that is gone; 0 is no better than not looking. Filled: the "
        "column itself is hidden and restored from the row's others. Errors: mean squared, in the column's standard "
        "deviations, or nats per token or category."
    )
    body = table(heads, rows, classes=["", *["n"] * (len(heads) - 1)])
    return f'<section><h2>{text(target.name)}: column by column</h2><p class="mute small">{note}</p>{body}</section>'

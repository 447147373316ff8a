"""Labelled segments on the page: each class's score, and a few rows, the truth above what was predicted."""

from __future__ import annotations

import math

import numpy as np

from polysense.core.schema import Target
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.examples import chosen_rows
from polysense.evaluation.page import number, table, text, track
from polysense.tasks.tagging.metrics import class_counts, segments_of

__all__ = ["segments_section"]

_SHOWN = 6
_MAX_CLASSES = 40
_KINDS = 4  # colours that the style sheet has for what belongs together
_WIDTH = 1000


def segments_section(target: Target, evaluation: Evaluation) -> str:
    """What is found of each class, and where in some rows."""
    truth = evaluation.truths[target.name]
    rows = np.flatnonzero(truth.present)
    if not len(rows):
        return ""
    predicted = evaluation.predictions[target.name].values.float().numpy()
    counts = class_counts(target, predicted[rows], truth.values[rows])
    order = np.argsort(-counts[:, 0], kind="stable")[:_MAX_CLASSES]
    lines = []
    for position in order.tolist():
        true, found, right = counts[position].tolist()
        f1 = Interval(2 * right / (true + found) if true + found else math.nan)
        name = target.classes[position]
        bar = track(f1, (0.0, 1.0), kind="model", label=f"{name}: F1 {number(f1.value)}")
        precision, recall = (right / of if of else math.nan for of in (found, true))
        cells = [number(f1.value), number(precision), number(recall), f"{true:,.0f}", f"{found:,.0f}", f"{right:,.0f}"]
        lines.append([text(name), bar, *cells])
    heads = ["class", "F1, 0 to 1", "F1", "precision", "recall", "true", "predicted", "right"]
    body = table(heads, lines, classes=["", "track", *["n"] * 6])
    more = f" The {_MAX_CLASSES} most frequent of {len(counts)} classes." if len(counts) > _MAX_CLASSES else ""
    chosen = chosen_rows(truth.present, _SHOWN)
    pictures = "".join(
        f'<p class="mute small">row {int(evaluation.rows[i])}, 0 to {_extent(target, truth.values[i])}</p>'
        + _timeline(target, truth.values[i], predicted[i])
        for i in chosen
    )
    note = (
        f"{len(chosen)} of {len(rows):,} rows, chosen by chance: above the line what is true, below it what was "
        "predicted. Point at a segment for its class."
    )
    return (
        f"<section><h2>{text(target.name)}: which segments are found?</h2>"
        f'<p class="mute small">A segment is right or wrong as a whole.{more}</p>{body}'
        f'<h3>Where in a row</h3><p class="mute small">{note}</p>{pictures}</section>'
    )


def _extent(target: Target, truth: np.ndarray) -> str:
    length = float(truth[0, 1])
    return f"{length / target.units_per_second:.1f} s" if target.units_per_second else f"{length:.0f} tokens"


def _timeline(target: Target, truth: np.ndarray, predicted: np.ndarray) -> str:
    """Two bands over a row's length."""
    length = max(float(truth[0, 1]), 1e-9)
    marks = [f'<line class="grid" x1="0" x2="{_WIDTH}" y1="20" y2="20"/>']
    said = []
    for top, kind, records in ((2, "true", truth), (22, "predicted", predicted)):
        for start, end, position in segments_of(records)[:, :3].tolist():
            name = target.classes[int(position)]
            x, width = _WIDTH * start / length, _WIDTH * (min(end, length) - start) / length
            box = f'x="{x:.1f}" y="{top}" width="{max(width, 1.0):.1f}" height="16"'
            marks.append(f'<rect class="dot c{int(position) % _KINDS}" {box}><title>{text(name)}</title></rect>')
            if width > 9 * len(name) + 6:
                marks.append(f'<text class="key" x="{x + 4:.1f}" y="{top + 12}">{text(name)}</text>')
            said.append(f"{kind} {name}")
    label = text(", ".join(said[:20]) or "no segment")
    return f'<svg viewBox="0 0 {_WIDTH} 40" role="img" aria-label="{label}">{"".join(marks)}</svg>'

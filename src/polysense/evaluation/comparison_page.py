"""comparison.html: the ranked table, and a plot of every training with the means' intervals.

One file that opens anywhere, loads nothing and runs no script, drawn with the same pieces as report.html.
"""

from __future__ import annotations

import math
from pathlib import Path

from polysense.core.files import write_text
from polysense.core.json import json_text
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.comparison import Comparison, Finding, Kind, Measure, Row
from polysense.evaluation.comparison_terminal import count, signed
from polysense.evaluation.page import document, number, span, table, text, ticks

__all__ = ["render_comparison", "write_comparison"]

_BADGES = {
    Finding.BETTER: ("good", "✓"),
    Finding.WORSE: ("bad", "✗"),
    Finding.NONE: ("none", "–"),
    Finding.CORRECTED: ("none", "–"),
    Finding.NO_CLAIM: ("none", "?"),
}
_KINDS = {Kind.ALONE: "one column", Kind.ENSEMBLE: "baseline", Kind.MAJORITY: "baseline"}


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the page; a reader never sees half of it."""
    write_text(path, render_comparison(comparison))


def render_comparison(comparison: Comparison) -> str:
    """The whole page as HTML."""
    first = comparison.measures[0]
    facts = {
        "variants": str(sum(row.entry.kind is Kind.VARIANT for row in comparison.rows)),
        "training seeds": str(len(comparison.seeds)),
        "judged on": f"{comparison.split} rows",
        "selected on": "validation rows" if any(row.selected for row in comparison.rows) else "nothing",
    }
    shown = "".join(f"<div><dt>{text(name)}</dt><dd>{text(fact)}</dd></div>" for name, fact in facts.items())
    parts = [
        f"<header><h1>{text(comparison.title)}</h1>"
        + "".join(f'<p class="lead">{text(note)}</p>' for note in comparison.notes)
        + f'<dl class="facts">{shown}</dl></header>',
        f"<section><h2>{text(first.name)}: which is better?</h2>{_ranking(comparison, first)}</section>",
    ]
    plots = "".join(dots(comparison, measure) for measure in comparison.measures)
    if plots:
        note = "A small dot is one training seed; the large dot and the line are the mean and its interval."
        parts.append(
            f'<section><h2>Every training</h2><p class="mute small">{note} The dashed line is the reference.</p>'
            f'<div class="curves">{plots}</div></section>'
        )
    parts.append(f"<section><h2>Other figures and costs</h2>{_others(comparison)}</section>")
    settings = json_text(dict(comparison.settings), indent=1)
    lines = "\n".join(text(line) for line in settings.split("\n"))
    parts.append(f"<section><details><summary>What was asked for</summary><pre>{lines}</pre></details></section>")
    return document(comparison.title, "\n".join(parts))


def _ranking(comparison: Comparison, measure: Measure) -> str:
    rows, own = [], -1
    for rank, row in enumerate(comparison.rows, 1):
        found, difference = row.means[measure.key], row.differences.get(measure.key)
        own = rank - 1 if row.entry.name == comparison.reference else own
        kind = _KINDS.get(row.entry.kind)
        note = f' <span class="mute small">{kind}</span>' if kind else ""
        note += f'<br><span class="bad small">{text(row.failure)}</span>' if row.failure is not None else ""
        if row.entry.name == comparison.reference:
            badge = "selected on validation" if row.selected else "reference"
        elif difference is None:
            badge = ""
        else:
            style, sign = _BADGES[difference.finding]
            badge = f'<span class="badge {style}">{sign} {difference.finding.value}</span>'
        rows.append(
            [
                f"{text(row.entry.name)}{note}",
                str(rank) if math.isfinite(found.value) else "–",
                span(found),
                span(row.validation[measure.key]) if measure.key in row.validation else "–",
                "" if difference is None else _signed_span(difference.mean),
                "" if difference is None or math.isnan(difference.p_holm) else f"{difference.p_holm:.3g}",
                badge,
            ]
        )
    heads = ["", "rank", f"mean on {text(comparison.split)}", "mean on validation", "difference", "p, corrected", ""]
    classes = ["", "n", "n", "n", "n", "n", ""]
    if comparison.split == "validation":  # the same column twice
        heads, classes, rows = heads[:3] + heads[4:], classes[:3] + classes[4:], [row[:3] + row[4:] for row in rows]
    return table(heads, rows, classes=classes, own=own)


def _others(comparison: Comparison) -> str:
    rows = []
    for row in comparison.rows:
        facts = [count(row.entry.facts.get(name)) for name in ("parameters", "seconds", "samples_per_second")]
        figures = [_marked(row, measure) for measure in comparison.measures[1:]]
        rows.append([text(row.entry.name), *figures, *facts])
    arrows = [f"{text(m.name)} {'↑' if m.higher_is_better else '↓'}" for m in comparison.measures[1:]]
    heads = ["", *arrows, "parameters", "seconds a training", "samples/s in training"]
    return table(heads, rows, classes=["", *("n" for _ in heads[1:])])


def _marked(row: Row, measure: Measure) -> str:
    """A mean over its interval, with a sign where it is better or worse than the reference's."""
    difference = row.differences.get(measure.key)
    shown = span(row.means[measure.key])
    if difference is None or difference.finding not in (Finding.BETTER, Finding.WORSE):
        return shown
    style, sign = _BADGES[difference.finding]
    return f'<span class="{style}" title="{difference.finding.value}">{sign}</span> {shown}'


def _signed_span(found: Interval) -> str:
    bounds = f'<span class="range">{signed(found.low)} to {signed(found.high)}</span>' if found.has_bounds else ""
    return signed(found.value) + bounds


def dots(comparison: Comparison, measure: Measure) -> str:
    """A row for each variant: its seeds as small dots, the mean as a large one over its interval."""
    rows = [row for row in comparison.rows if math.isfinite(row.means[measure.key].value)]
    if not rows:
        return ""
    values = [value for row in rows for value in row.entry.measured(comparison.split, measure.key).values()]
    values += [bound for row in rows for bound in (row.means[measure.key].low, row.means[measure.key].high)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    pad = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    low, high = low - pad, high + pad
    left, top, width, step = 210, 8, 420, 24
    bottom = top + step * len(rows)

    def x(value: float) -> float:
        return round(left + width * (value - low) / (high - low), 1)

    marks = []
    for value in ticks(low, high):
        marks.append(f'<line class="grid" x1="{x(value)}" x2="{x(value)}" y1="{top}" y2="{bottom}"/>')
        marks.append(f'<text class="axis" x="{x(value)}" y="{bottom + 15}" text-anchor="middle">{value:.4g}</text>')
    for i, row in enumerate(rows):
        y = top + step * i + step / 2
        found = row.means[measure.key]
        color = "c0" if row.entry.kind is Kind.VARIANT else "c3"
        if row.entry.name == comparison.reference:
            at = x(found.value)
            line = f'x1="{at}" x2="{at}" y1="{top}" y2="{bottom}"'
            marks.append(f'<line class="zero" stroke-dasharray="3 3" {line}/>')
        name = row.entry.name if len(row.entry.name) <= 32 else row.entry.name[:31] + "…"
        marks.append(f'<text class="key" x="{left - 8}" y="{y + 4}" text-anchor="end">{text(name)}</text>')
        for value in row.entry.measured(comparison.split, measure.key).values():
            dot = f'cx="{x(value)}" cy="{y}" r="2.5"'
            marks.append(f'<circle class="dot {color}" stroke="none" fill-opacity="0.45" {dot}/>')
        if found.has_bounds:
            a, b = x(found.low), x(found.high)
            marks.append(f'<path class="whisker" d="M{a} {y}H{b}M{a} {y - 4}V{y + 4}M{b} {y - 4}V{y + 4}"/>')
        marks.append(f'<circle class="dot {color}" stroke="none" cx="{x(found.value)}" cy="{y}" r="4.5"/>')
    title = f"{measure.name} ({'more' if measure.higher_is_better else 'less'} is better)"
    label = "; ".join(f"{row.entry.name}: {number(row.means[measure.key].value)}" for row in rows)
    head = f'<svg viewBox="0 0 {left + width + 12} {bottom + 22}" role="img" aria-label="{text(label)}">'
    return f"<figure><figcaption>{text(title)}</figcaption>{head}{''.join(marks)}</svg></figure>"

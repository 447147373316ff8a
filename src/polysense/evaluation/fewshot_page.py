"""fewshot.html: accuracy over the number of labelled rows, a plot for each method, and the figures.

One file that opens anywhere, loads nothing and runs no script, drawn with the same pieces as report.html.
"""

from __future__ import annotations

import math

from polysense.evaluation.fewshot import RANDOM, TRAINED, FewShot, method_name
from polysense.evaluation.page import document, number, span, table, text, ticks

__all__ = ["render_fewshot"]

_LEFT, _TOP, _WIDTH, _HEIGHT = 46, 28, 300, 190


def render_fewshot(found: FewShot) -> str:
    """The whole page as HTML."""
    facts = {
        "labels": found.target,
        "classes": str(len(found.classes)),
        "training rows to draw from": f"{sum(found.class_counts):,}",
        f"{found.split} rows": f"{found.num_test:,}",
        "draws": str(found.num_draws),
    }
    shown = "".join(f"<div><dt>{text(name)}</dt><dd>{text(fact)}</dd></div>" for name, fact in facts.items())
    notes = "".join(f"<li>{text(note)}</li>" for note in found.remarks())
    plots = "".join(_plot(found, name) for name in found.methods)
    parts = [
        f'<header><h1>{text(found.target)}: few labels on frozen features</h1><dl class="facts">{shown}</dl></header>',
        "<section><h2>Accuracy by labelled rows per class</h2>"
        '<p class="mute small">Lines with whiskers are means with their 95% intervals over draws ("all": over '
        f'{text(found.split)} rows).</p><div class="curves">{plots}</div></section>',
        f"<section><h2>Figures</h2>{_figures(found)}</section>",
        f'<section><h2>What to know</h2><ul class="small">{notes}</ul></section>',
    ]
    return document(f"{found.target}: few-shot", "\n".join(parts))


def _plot(found: FewShot, method: str) -> str:
    """One method: the trained encoder, the random one, and two lines to beat. All plots have one scale."""
    all_scores = [score.accuracy for score in found.scores]
    values = [v for a in all_scores for v in (a.value, a.low, a.high) if math.isfinite(v)]
    high = min(1.0, max([*values, found.majority, found.chance]) * 1.05)
    low = 0.0
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT

    def x(index: int) -> float:
        return round(_LEFT + _WIDTH * (index + 0.5) / len(found.shots), 1)

    def y(value: float) -> float:
        return round(_TOP + _HEIGHT * (1 - (value - low) / ((high - low) or 1.0)), 1)

    marks = []
    for value in ticks(low, high):
        marks.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>')
        marks.append(f'<text class="axis" x="{_LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:.4g}</text>')
    for index, shots in enumerate(found.shots):
        name = "all" if shots is None else str(shots)
        marks.append(f'<text class="axis" x="{x(index)}" y="{bottom + 16}" text-anchor="middle">{name}</text>')
    close = abs(y(found.majority) - y(found.chance)) < 12
    lines = [("to beat", found.majority)] if close else [("majority", found.majority), ("chance", found.chance)]
    for name, value in lines:
        marks.append(
            f'<line class="zero" stroke-dasharray="2 4" x1="{_LEFT}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>'
        )
        marks.append(f'<text class="axis" x="{right}" y="{y(value) + 4}">&#160;{name}</text>')
    key = _LEFT
    said = []
    for encoder, color in ((TRAINED, "c0"), (RANDOM, "c3")):
        scores = [found.score(encoder, method, shots).accuracy for shots in found.shots]
        # Side by side, so that the whiskers of one do not hide the other's.
        shift = -3 if encoder == TRAINED else 3
        places = [(x(i) + shift, y(score.value)) for i, score in enumerate(scores)]
        marks.append(f'<polyline class="line {color}" points="{" ".join(f"{a},{b}" for a, b in places)}"/>')
        for (a, b), score in zip(places, scores, strict=True):
            if score.has_bounds:
                top, end = y(score.high), y(score.low)
                marks.append(
                    f'<path class="whisker" d="M{a} {top}V{end}M{a - 3} {top}H{a + 3}M{a - 3} {end}H{a + 3}"/>'
                )
            marks.append(f'<circle class="dot {color}" stroke="none" cx="{a}" cy="{b}" r="3.5"/>')
        marks.append(f'<line class="line {color}" x1="{key}" x2="{key + 22}" y1="10" y2="10"/>')
        marks.append(f'<text class="key" x="{key + 27}" y="14">{encoder}</text>')
        key += 44 + 7 * len(encoder)
        said.append(f"{encoder} " + ", ".join(number(score.value) for score in scores))
    view = f"0 0 {right + 54} {bottom + 22}"
    return (
        f'<figure style="flex: 1 1 320px"><figcaption>{text(method_name(method))}</figcaption>'
        f'<svg viewBox="{view}" role="img" aria-label="{text("; ".join(said))}">{"".join(marks)}</svg></figure>'
    )


def _figures(found: FewShot) -> str:
    rows = []
    for method in found.methods:
        for shots in found.shots:
            ours, random = found.score(TRAINED, method, shots), found.score(RANDOM, method, shots)
            gain = "–" if ours.gain is None else span(ours.gain)
            name = "all" if shots is None else str(shots)
            cells = [span(ours.accuracy), span(random.accuracy), gain, span(ours.balanced), span(random.balanced)]
            rows.append([f"{text(method_name(method))}, {name}", *cells])
    rows.append(["majority class", number(found.majority), "–", "–", number(found.chance), "–"])
    rows.append(["chance", number(found.chance), "–", "–", number(found.chance), "–"])
    heads = [
        "method, labelled rows per class",
        "accuracy",
        "of a random encoder",
        "gain over it",
        "balanced accuracy",
        "of a random encoder",
    ]
    return table(heads, rows, classes=["", *["n"] * 5])

"""report.html: what was trained, how good it is beside what it must beat, and what each column contributed.

One file that opens anywhere, loads nothing and runs no script. Comparisons come first, because a score means nothing
alone; intervals stand beside every value; what could not be measured says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysense.core.files import write_text
from polysense.core.modality import Task
from polysense.core.schema import Target
from polysense.evaluation.baselines import MAJORITY, baseline_name
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.examples import texts_section
from polysense.evaluation.metrics.base import MetricInfo
from polysense.evaluation.metrics.compute import metrics_of, primary_metric
from polysense.evaluation.page import curve, document, number, span, table, text, track
from polysense.evaluation.verdict import Contributions, TargetContributions, Verdict, amount, unit
from polysense.tasks.classification.confusion import confusion_section
from polysense.tasks.generation.metrics.words import are_unspaced
from polysense.tasks.generation.texts import Texts
from polysense.tasks.reconstruction.report_section import restored_section
from polysense.tasks.tagging.report_section import segments_section

__all__ = ["Report", "headline_metrics", "render_report", "write_report"]

_MAX_SUBSETS = 32
_MAX_UNREADABLE = 20
_HEADLINES = {
    Task.CLASSIFICATION: ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "log_loss", "ece"),
    Task.MULTILABEL: ("f1_micro", "f1_macro", "average_precision", "auroc", "exact_match", "log_loss"),
    Task.REGRESSION: ("r2", "mae", "rmse", "pearson"),
    Task.RECONSTRUCTION: ("skill", "filled_skill", "accuracy", "filled_accuracy"),
    Task.CONTRASTIVE: ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_average_precision"),
    Task.TAGGING: (
        *(f"{whole}_{name}" for whole in ("entity", "segment") for name in ("f1", "precision", "recall")),
        *(f"{step}_{name}" for step in ("token", "frame") for name in ("f1", "accuracy")),
        "onset_f1",
        "log_loss",
    ),
    Task.GENERATION: ("cider", "bleu", "chrf", "exact_match", "token_f1", "wer", "log_loss"),
}
_BADGES = {Verdict.HELPS: ("good", "✓"), Verdict.NONE: ("none", "–"), Verdict.HURTS: ("bad", "✗")}


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """What the report tells.

    Attributes:
        title: Of the run.
        evaluation: Of the trained model.
        split: The rows that it was evaluated on: "test", "validation" or a table's name.
        comparisons: What the model must beat, on the same rows: the most frequent class, models of one column each,
            their ensemble.
        contributions: What each column contributed.
        history: The records of log.jsonl.
        missing: {column: {split: share of rows in which it is absent}}.
        facts: Short facts for the head of the page: rows, parameters, time.
        settings: The recipe.
        samples: The page beside this one that shows a few rows after each epoch; None if there is none.
        pages: Other pages beside this one, and what they show.
    """

    title: str
    evaluation: Evaluation
    split: str = "test"
    comparisons: Mapping[str, Evaluation] = field(default_factory=dict)
    contributions: Contributions | None = None
    history: Sequence[Mapping[str, Any]] = ()
    missing: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    samples: str | None = None
    pages: Mapping[str, str] = field(default_factory=dict)


def headline_metrics(target: Target, texts: Texts | None = None) -> tuple[MetricInfo, ...]:
    """The metrics that are read first; the others are in metrics.json and at the foot of the report.

    Args:
        target: What is predicted.
        texts: Of a target that is a text. Where its script puts no spaces between words, BLEU and the word error rate
            take a sentence for a word: chrF and the character error rate stand there instead.
    """
    names = _HEADLINES[target.task]
    if texts is not None and are_unspaced([text for row in texts.references for text in row]):
        names = tuple("cer" if name == "wer" else name for name in names if name != "bleu")
    return tuple(info for info in metrics_of(target) if info.name in names)


def write_report(report: Report, path: Path) -> None:
    """Writes the page; a reader never sees half of it."""
    write_text(path, render_report(report))


def render_report(report: Report) -> str:
    """The whole page as HTML."""
    parts = [_head(report)]
    for target in report.evaluation.targets:
        parts.append(_scores(report, target))
        if report.contributions is not None:
            parts += [
                _contribution(found, report.contributions)
                for found in report.contributions.targets
                if found.target == target.name
            ]
        if target.name in report.evaluation.confusion and report.evaluation.num_counted(target.name):
            parts.append(confusion_section(target, report.evaluation.confusion[target.name]))
        if target.task is Task.TAGGING:
            parts.append(segments_section(target, report.evaluation))
        if target.task is Task.RECONSTRUCTION:
            parts.append(restored_section(target, report.evaluation, report.comparisons.get(MAJORITY)))
        if target.name in report.evaluation.texts:
            parts.append(texts_section(target, report.evaluation))
    parts += [_training(report), _data(report), _details(report)]
    return document(report.title, "\n".join(part for part in parts if part))


def _head(report: Report) -> str:
    lines = [f"<h1>{text(report.title)}</h1>"]
    for target in report.evaluation.targets:
        info = primary_metric(target)
        found = report.evaluation.metrics[target.name][info.name]
        rows = f"{report.evaluation.num_counted(target.name):,} {text(report.split)} rows"
        if not math.isfinite(found.value):
            reason = report.evaluation.undefined[target.name].get(info.name, "")
            lines.append(f'<p class="lead">{text(target.name)}: no {_label(info)} on {rows} ({text(reason)}).</p>')
            continue
        between = f" ({number(found.low)} to {number(found.high)})" if found.has_bounds else ""
        rivals = "".join(
            f"; {text(baseline_name(name, target))} {number(other.value(target.name, info.name))}"
            for name, other in list(report.comparisons.items())[:1]
        )
        lines.append(
            f'<p class="lead"><b>{text(target.name)}</b>: {_label(info)} <b>{number(found.value)}</b>{between}'
            f" on {rows}{rivals}.</p>"
        )
    if report.contributions is not None:
        lines += [f'<p class="lead">{text(found.sentence())}</p>' for found in report.contributions.targets]
    if report.pages:
        links = ", ".join(f'<a href="{text(file)}">{text(words)}</a>' for file, words in report.pages.items())
        lines.append(f"<p>{links}.</p>")
    facts = "".join(f"<div><dt>{text(name)}</dt><dd>{text(fact)}</dd></div>" for name, fact in report.facts.items())
    if facts:
        lines.append(f'<dl class="facts">{facts}</dl>')
    return f"<header>{''.join(lines)}</header>"


def _scores(report: Report, target: Target) -> str:
    """The model beside what it must beat."""
    primary = primary_metric(target)
    infos = headline_metrics(target, report.evaluation.texts.get(target.name))
    entries = [("this model", report.evaluation)]
    entries += [(baseline_name(name, target), other) for name, other in report.comparisons.items()]
    found = [(name, evaluation.metrics[target.name][primary.name]) for name, evaluation in entries]
    low = min([0.0, *(v for _, i in found for v in (i.value, i.low) if math.isfinite(v))])
    high = max([primary.bounds[1], *(v for _, i in found for v in (i.value, i.high) if math.isfinite(v))])
    # A hopeless baseline's R2 of -40 would flatten every other bar.
    domain = (max(low, -1.0), high)
    rows = []
    for i, (name, evaluation) in enumerate(entries):
        own = evaluation.metrics[target.name]
        bar = track(found[i][1], domain, kind="" if i else "model", label=f"{name}: {number(found[i][1].value)}")
        reasons = evaluation.undefined[target.name]
        cells = [span(own[info.name], reason=reasons.get(info.name, "")) for info in infos]
        rows.append([text(name), bar, *cells])
    heads = ["", f"{_label(primary)}, {_end(domain[0])} to {_end(domain[1])}"]
    heads += [f'<span title="{text(info.description)}">{_label(info)}&nbsp;{_arrow(info)}</span>' for info in infos]
    classes = ["", "track", *("n" for _ in infos)]
    level = f"{100 * report.evaluation.confidence:g}%"
    resamples = report.evaluation.num_resamples
    without = report.evaluation.num_rows - report.evaluation.num_counted(target.name)
    notes = f"On {report.evaluation.num_counted(target.name):,} {text(report.split)} rows"
    lacking = "fewer than two of the columns" if target.task is Task.CONTRASTIVE else f"no {text(target.name)}"
    notes += f" ({without:,} more {'has' if without == 1 else 'have'} {lacking})." if without else "."
    if resamples:
        notes += f" Below each value its {level} interval: {resamples:,} bootstrap resamples of the rows."
    notes += " ↑ more is better, ↓ less is better."
    return (
        f"<section><h2>{text(target.name)}: how good is it?</h2>"
        f'<p class="mute small">{notes}</p>{table(heads, rows, classes=classes, own=0)}</section>'
    )


def _contribution(found: TargetContributions, contributions: Contributions) -> str:
    """Every column's share, and every subset's score."""
    if not found.num_rows or not found.columns:
        return ""
    measure = found.measures[0]
    shares = [column.shapley[measure] for column in found.ranked]
    domain = _domain(shares)
    rows = []
    for column in found.ranked:
        kind, sign = _BADGES[column.verdict]
        share = column.shapley[measure]
        bar = track(share, domain, kind=kind, label=f"{column.name}: {amount(measure, share.value)} {unit(measure)}")
        note = f'<br><span class="mute small">{text(column.note)}</span>' if column.note else ""
        rows.append(
            [
                f'{text(column.name)} <span class="mute small">{text(column.modality.value)}</span>{note}',
                bar,
                f'<span class="badge {kind}">{sign} {column.verdict.value}</span>',
                _gain(measure, share),
                *([_gain("log_loss", column.shapley["log_loss"])] if "log_loss" in found.measures else []),
                span(column.alone[measure]),
                span(column.without[measure]),
                _gain(measure, column.drop[measure]),
            ]
        )
    finer = ["of log loss, nats"] if "log_loss" in found.measures else []
    name = {"r2": "R²", "f1_samples": "per-row F1", "log_likelihood": "log likelihood per token"}.get(measure, measure)
    heads = [
        "column",
        f"share of the {name}",
        "",
        text(unit(measure)),
        *finer,
        "alone",
        "without it",
        "lost without it",
    ]
    classes = ["", "track", "", "n", *("n" for _ in finer), "n", "n", "n"]
    of_all = f" of {contributions.num_available:,}" if contributions.num_available > found.num_rows else ""
    how = (
        "all subsets of the columns"
        if found.exact
        else f"{len(found.subsets)} subsets of the columns, whose sampling noise the intervals hold"
    )
    explanation = (
        f"With no column, knowing only the training labels, the {name} is {number(found.nothing[measure].value)}; with"
        f" all it is {number(found.full[measure].value)}. The shares (Shapley values) add up to the difference."
        f" Measured on {found.num_rows:,}{of_all} rows and {how}, the other columns masked out as in a missing cell."
    )
    body = table(heads, rows, classes=classes)
    return (
        f"<section><h2>{text(found.target)}: what does each column contribute?</h2>"
        f'<p class="mute small">{explanation}</p>{body}{_subsets(found, measure)}</section>'
    )


def _subsets(found: TargetContributions, measure: str) -> str:
    """The score of every subset, the best first."""
    listed = sorted(found.subsets, key=lambda entry: -entry[1][measure].value)
    shown = listed[:_MAX_SUBSETS]
    low = min([0.0, *(values[measure].value for _, values in shown if math.isfinite(values[measure].value))])
    domain = (max(low, -1.0), 1.0)
    rows = []
    for names, values in shown:
        name = text(", ".join(names)) if names else "nothing (training labels only)"
        kind = "model" if len(names) == len(found.columns) else ""
        label = f"{', '.join(names) or 'nothing'}: {number(values[measure].value)}"
        rows.append([name, track(values[measure], domain, kind=kind, label=label), span(values[measure])])
    caption = f"The {len(shown)} best of {len(listed)} subsets" if len(shown) < len(listed) else ""
    name = {"r2": "R²", "f1_samples": "per-row F1", "log_likelihood": "log likelihood per token"}.get(measure, measure)
    content = table(["columns present", name, ""], rows, classes=["", "track", "n"], caption=caption)
    return f"<details><summary>{len(listed)} subsets of the columns</summary>{content}</details>"


def _training(report: Report) -> str:
    """Loss and headline over the epochs."""
    # A run that was killed and resumed logs an epoch twice: the later line counts.
    epochs = {record["epoch"]: record for record in report.history if record.get("event", "epoch") == "epoch"}
    if not epochs:
        return ""

    def series(*path: str) -> list[tuple[float, float]]:
        points = []
        for epoch, record in sorted(epochs.items()):
            value: Any = record
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if isinstance(value, int | float):
                points.append((float(epoch), float(value)))
        return points

    targets = report.evaluation.targets
    lines = [("training", series("loss"))]
    lines += [("validation", points) for points in [series("validation", "loss")] if points]
    if len(lines) == 1 and len(targets) == 1:
        points = series("validation", f"{targets[0].name}/log_loss")
        lines += [("validation log loss", points)] if points else []
    best = [epoch for epoch, record in epochs.items() if record.get("best")]
    mark = float(max(best)) if best else None
    scores = []
    for target in targets:
        info = primary_metric(target)
        points = series("validation", f"{target.name}/{info.name}")
        if points:
            scores.append((f"{target.name} {info.name}" if len(targets) > 1 else info.name, points))
    figures = curve("Loss", lines, mark=mark)
    if scores:
        figures += curve("Validation", scores, mark=mark)
    note = f"{len(epochs)} epochs." + (f" The model is that of epoch {mark:g}, the best on validation." if mark else "")
    if report.samples is not None:
        note += f' <a href="{text(report.samples)}">What came out for a few rows, epoch by epoch</a>.'
    return f'<section><h2>Training</h2><p class="mute small">{note}</p><div class="curves">{figures}</div></section>'


def _data(report: Report) -> str:
    """What is missing, and what could not be read."""
    parts = []
    if report.missing:
        splits = list(dict.fromkeys(split for by_split in report.missing.values() for split in by_split))
        rows = []
        for column, by_split in report.missing.items():
            shares = [by_split.get(split, math.nan) for split in splits]
            worst = max([0.0, *(share for share in shares if math.isfinite(share))])
            bar = track(Interval(worst), (0.0, 1.0), kind="", label=f"{100 * worst:.1f}% missing")
            rows.append([text(column), bar, *(_percent(share) for share in shares)])
        heads = ["column", "missing, 0 to 100%", *(text(split) for split in splits)]
        parts.append("<h3>Missing cells</h3>" + table(heads, rows, classes=["", "track", *("n" for _ in splits)]))
    unreadable = report.evaluation.unreadable
    if unreadable:
        counts: dict[str, int] = {}
        for cell in unreadable:
            counts[cell.source.column] = counts.get(cell.source.column, 0) + 1
        by_column = ", ".join(f"{count:,} in {text(column)}" for column, count in counts.items())
        rows = [
            [text(cell.source.row), text(cell.source.column), text(cell.source.file or ""), text(cell.reason)]
            for cell in unreadable[:_MAX_UNREADABLE]
        ]
        more = " The first of them; all are in unreadable.jsonl." if len(unreadable) > _MAX_UNREADABLE else ""
        body = table(["row", "column", "file", "why"], rows, classes=["", "", "", ""])
        parts.append(
            f"<h3>Unreadable cells</h3><p>{len(unreadable):,} cells could not be read and count as missing:"
            f" {by_column}.{more}</p>{body}"
        )
    else:
        parts.append("<p>Every cell could be read.</p>")
    return f"<section><h2>The data</h2>{''.join(parts)}</section>"


def _details(report: Report) -> str:
    """Every metric with its meaning, and the recipe."""
    parts = []
    for target in report.evaluation.targets:
        reasons = report.evaluation.undefined[target.name]
        rows = []
        for info in metrics_of(target):
            reason = f" <i>No value: {text(reasons[info.name])}.</i>" if reasons.get(info.name) else ""
            found = span(report.evaluation.metrics[target.name][info.name])
            rows.append([text(info.name), found, f"{text(info.description)}{reason}"])
        content = table(["metric", "", "meaning"], rows, classes=["", "n", "small"])
        parts.append(f"<details><summary>All metrics of {text(target.name)}</summary>{content}</details>")
    if report.settings:
        recipe = "\n".join(text(line) for line in report.settings.splitlines())
        parts.append(f"<details><summary>The recipe</summary><pre>{recipe}</pre></details>")
    return f"<section><h2>Details</h2>{''.join(parts)}</section>"


def _label(info: MetricInfo) -> str:
    """The metric's name as people write it."""
    known = {"auroc": "AUROC", "r2": "R²", "mae": "MAE", "rmse": "RMSE", "ece": "ECE"}
    base, _, column = info.name.partition("/")
    return text(known.get(base, base.replace("_", " ").replace("f1", "F1")) + (f" of {column}" if column else ""))


def _end(value: float) -> str:
    """Of an axis: 0 to 100 rather than 0.000 to 100.00."""
    shown = number(value)
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _arrow(info: MetricInfo) -> str:
    return "↑" if info.higher_is_better else "↓"


def _gain(measure: str, found: Interval) -> str:
    """A signed gain over its interval."""
    if not math.isfinite(found.value):
        return "–"
    shown = amount(measure, found.value)
    if not found.has_bounds:
        return shown
    return f'{shown}<span class="range">{amount(measure, found.low)} to {amount(measure, found.high)}</span>'


def _domain(found: Sequence[Interval]) -> tuple[float, float]:
    """A scale that holds 0 and every interval."""
    values = [v for one in found for v in (one.value, one.low, one.high) if math.isfinite(v)]
    return min([0.0, *values]), max([0.0, *values]) or 1.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if math.isfinite(share) else "–"

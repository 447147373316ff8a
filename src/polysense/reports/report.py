"""Render report.html: what was trained, its results beside the baselines, and what each column contributed.

One file that opens anywhere. Comparisons come first, because a score means nothing alone; intervals stand beside every
value; what could not be measured says why.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from markupsafe import Markup

from polysense.core.metric import Metric
from polysense.core.registry import named, task
from polysense.core.report_section import ReportSection
from polysense.core.sample import Unreadable
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.baselines import CONSTANT, baseline_name, unimodal_name
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import ColumnContribution, Contributions, TargetContributions, Verdict
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.simple_baselines import BaselineScore, TargetBaselines
from polysense.evaluation.target_metrics import headline_metric, metrics_of, reported_metrics
from polysense.evaluation.verdict import TargetVerdict, verdicts
from polysense.reports import charts
from polysense.reports.environment import render, render_section
from polysense.reports.metric_names import metric_name
from polysense.reports.numerals import axis_end
from polysense.reports.reading import Reading

__all__ = ["Report", "model_name", "render_markdown", "render_report", "trained_alone", "with_contents"]

_DATA_URI = re.compile(r"(\"data:[^\"]*\")")
_MAX_SUBSETS = 32
_MAX_UNREADABLE = 20
_MAX_REMARKS = 50
_MAX_COLUMNS = 200
_BADGES = {
    Verdict.HELPS: ("good", "✓"),
    Verdict.REDUNDANT: ("none", "="),
    Verdict.NO_HELP: ("none", "–"),
    Verdict.INCONCLUSIVE: ("none", "?"),
    Verdict.HURTS: ("bad", "✗"),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """Everything that the report shows.

    Attributes:
        title: Of the run.
        evaluation: Of the trained model.
        num_columns: Its input columns.
        split: The rows that it was evaluated on: "test", "validation", "out-of-fold" or a table's name.
        scored: What was scored on them, where it is not the trained model.
        comparisons: The baselines on the same rows: the most frequent class, models of one column each, their ensemble.
        simple_baselines: By target the model beside simple ones.
        fusion_weights: By target what the experts of an ensemble count, in words.
        contributions: What each column contributed.
        history: The records of log.jsonl.
        logged: What of these is no loss, by its name there: a reward, a divergence.
        missing: {column: {split: share of rows in which it is absent}}.
        facts: Short facts for the head of the page: rows, parameters, time.
        settings: The recipe.
        samples: The page beside this one that shows a few rows after each epoch; None if there is none.
        pages: Other pages beside this one, and what they show.
        dataset: The evaluated rows, with targets, for tasks that show some.
        unreadable: Cells that could not be read, by split; of the evaluated rows alone where none is named.
        reading: How the table is read.
        audit: The parts of the audit, in order.
        left_out: What the audit had no time for, or could not ask, in words.
        chose: What of the model the evaluated rows also chose, in words; "" for nothing; None where it is not known.
        advice: What the training says, in a sentence.
        seed: Of the resamples.
        environment: What the model was made with: date, command, version, device.
        roots: Folders of this machine; what lies in one of them is named from there.
    """

    title: str
    evaluation: Evaluation
    num_columns: int
    split: str = "test"
    scored: str = ""
    comparisons: Mapping[str, Evaluation] = field(default_factory=dict)
    simple_baselines: Mapping[str, TargetBaselines] = field(default_factory=dict)
    fusion_weights: Mapping[str, str] = field(default_factory=dict)
    contributions: Contributions | None = None
    history: Sequence[Mapping[str, Any]] = ()
    logged: Sequence[str] = ()
    missing: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    samples: str | None = None
    pages: Mapping[str, str] = field(default_factory=dict)
    dataset: TableDataset | None = None
    unreadable: Mapping[str, Sequence[Unreadable]] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    audit: Sequence[AuditPart] = ()
    left_out: Sequence[str] = ()
    chose: str | None = None
    advice: str = ""
    seed: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    roots: Sequence[str] = ()

    @cached_property
    def verdicts(self) -> tuple[TargetVerdict, ...]:
        """What may be said of each target."""
        return verdicts(
            self.evaluation,
            split=self.split,
            comparisons=self.comparisons,
            simple_baselines=self.simple_baselines,
            contributions=self.contributions,
            chose=self.chose,
            advice=self.advice,
            seed=self.seed,
        )

    def trained_alone(self, target: str, column: ColumnContribution) -> Interval | None:
        """The score of the best model that was trained on a column and no other, by the measure of its contribution."""
        other = self.comparisons.get(unimodal_name(column.name))
        own = None if other is None else other.metrics[target].get(str(next(iter(column.drop))))
        known = [one for one in (column.trained_alone, own) if one is not None and math.isfinite(one.value)]
        return max(known, key=lambda one: one.value, default=None)

    def without_roots(self, text: str) -> str:
        """A page or text that names no folder of this machine."""
        spelled = {each for root in self.roots if root not in ("", "/") for each in (root, html.escape(root))}
        if not spelled:
            return text
        longest_first = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
        folder = re.compile(rf"(?<![\w.-])({longest_first})(/|(?![\w.-]))")
        parts = _DATA_URI.split(text)  # in whose letters a folder's name may stand by chance
        parts[::2] = [folder.sub(lambda one: "" if one[2] else ".", part) for part in parts[::2]]
        return "".join(parts)

    @property
    def unreadable_cells(self) -> list[tuple[str, Unreadable]]:
        """Every cell that could not be read, with its split."""
        by_split = self.unreadable or {self.split: self.evaluation.unreadable}
        return [(split, cell) for split, cells in by_split.items() for cell in cells]


def render_report(report: Report) -> str:
    """The whole page as HTML."""
    evaluation = report.evaluation
    measured = () if report.contributions is None else report.contributions.targets
    sections = [_results(report, target) for target in evaluation.targets]
    sections += [
        _simple(report, target)
        for target in evaluation.targets
        if target.name in report.simple_baselines or target.name in report.fusion_weights
    ]
    for one in measured:
        if report.contributions is not None and one.num_rows and one.columns:
            sections.append(_importance(report, one, report.contributions))
    sections += [part.section() for part in report.audit]
    for target in evaluation.targets:
        where = task(target.task).report_section
        if not isinstance(where, Unsupported):
            own = named(where)(target, evaluation, report.comparisons.get(CONSTANT), report.dataset)
            assert isinstance(own, list), f"{where}: gives a {type(own).__name__}, not sections"
            sections += own
    page = render(
        "report.html.j2",
        report=report,
        remarks_on_scores=_caveats(report),
        next_steps=_next_steps(report),
        sections=[render_section(section) for section in sections],
        training=_training(report),
        missing=_missing(report),
        remarks=report.reading.remarks[:_MAX_REMARKS],
        readings=report.reading.columns[:_MAX_COLUMNS],
        unreadable=report.unreadable_cells[:_MAX_UNREADABLE],
        num_unreadable=len(report.unreadable_cells),
        unreadable_by_column=Counter(cell.source.column for _, cell in report.unreadable_cells),
        metrics=[(target, _metric_lines(evaluation, target)) for target in evaluation.targets],
    )
    return with_contents(report.without_roots(page))


def render_markdown(report: Report) -> str:
    """report.md: the verdict, the results and the columns, for a pull request."""
    evaluation = report.evaluation
    measured = () if report.contributions is None else report.contributions.targets
    results = []
    for target in evaluation.targets:
        infos = reported_metrics(target, evaluation.statistics[target.name])
        rows = [
            (name, [one.metrics[target.name][info.name] for info in infos]) for name, one in _entries(report, target)
        ]
        heads = [f"{metric_name(info)} {'↑' if info.higher_is_better else '↓'}" for info in infos]
        results.append((f"{target.name}, {evaluation.num_counted(target.name):,} {report.split} rows", heads, rows))
    facts = [f"{name}: {fact}" for name, fact in {**report.facts, **report.environment}.items()]
    text = render(
        "report.md.j2",
        report=report,
        remarks_on_scores=_caveats(report),
        next_steps=_next_steps(report),
        results=results,
        contributions=[(one, trained_alone(report, one)) for one in measured if one.num_rows and one.columns],
        facts=facts,
    )
    return report.without_roots(re.sub(r"\n{3,}", "\n\n", text)).strip() + "\n"


def with_contents(page: str) -> str:
    """A page whose sections can be linked to, with a list of them where it has a place for one."""
    entries: list[tuple[str, str]] = []

    def anchored(head: re.Match[str]) -> str:
        words = re.sub(r"<[^>]*>", "", head[3])
        slug = re.sub(r"[^a-z0-9]+", "-", html.unescape(words).lower()).strip("-") or "section"
        taken = {name for name, _ in entries}
        name = next(each for each in (slug, *(f"{slug}-{i}" for i in range(2, len(taken) + 3))) if each not in taken)
        entries.append((name, words))
        return f'<section id="{name}"{head[1]}>{head[2]}<h2>{head[3]}</h2>'

    page = re.sub(r"<section([^>]*)>(\s*)<h2>(.*?)</h2>", anchored, page, flags=re.DOTALL)
    items = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in entries)
    return page.replace("<!--contents-->", f'<nav aria-label="Contents"><ul>{items}</ul></nav>', 1)


def _caveats(report: Report) -> list[str]:
    return list(dict.fromkeys(remark for one in report.verdicts for remark in one.caveats()))


def _next_steps(report: Report) -> list[str]:
    return list(dict.fromkeys(step for one in report.verdicts for step in one.next_steps()))


def _entries(report: Report, target: Target) -> list[tuple[str, Evaluation]]:
    """The model and its baselines, by name."""
    entries = [(model_name(report.num_columns), report.evaluation)]
    return entries + [(baseline_name(name, target), other) for name, other in report.comparisons.items()]


class _SimpleRow(NamedTuple):
    """A simple model, its value drawn."""

    score: BaselineScore
    bar: Markup


class _ScoreRow(NamedTuple):
    """A line of the results: a model's name, its headline metric drawn, and each metric or why it is undefined."""

    name: str
    bar: Markup
    scores: Sequence[tuple[Interval, str]]


def _results(report: Report, target: Target) -> ReportSection:
    """The model beside its baselines."""
    evaluation, primary = report.evaluation, headline_metric(target)
    infos = reported_metrics(target, evaluation.statistics[target.name])
    entries = _entries(report, target)
    values = [one.metrics[target.name][primary.name] for _, one in entries]
    low, high = charts.domain(values, high=primary.bounds[1])
    # A hopeless baseline's R2 of -40 would flatten every other bar.
    low = max(low, -1.0)
    rows = []
    for i, (name, one) in enumerate(entries):
        label = f"{name}: {values[i].value:.3f}"
        bar = charts.interval_bar(values[i], (low, high), kind="" if i else "model", label=label)
        reasons = one.undefined[target.name]
        scores = [(one.metrics[target.name][info.name], reasons.get(info.name, "")) for info in infos]
        rows.append(_ScoreRow(name, bar, scores))
    return ReportSection(
        template="results.html.j2",
        values={
            "target": target,
            "split": report.split,
            "evaluation": evaluation,
            "num_rows": evaluation.num_counted(target.name),
            "absence": task(target.task).absence(target),
            "num_lacking": evaluation.num_rows - evaluation.num_counted(target.name),
            "scale": f"{metric_name(primary)}, {axis_end(low)} to {axis_end(high)}",
            "metrics": [(info, metric_name(info)) for info in infos],
            "rows": rows,
        },
    )


def _simple(report: Report, target: Target) -> ReportSection:
    """The model beside simple ones, and what its experts count."""
    compared, rows = report.simple_baselines.get(target.name), list[_SimpleRow]()
    low, high, metric = 0.0, 1.0, ""
    own_bar = Markup("")
    if compared is not None:
        metric = metric_name(compared.metric)
        low, high = charts.domain(
            [compared.model, *(score.value for score in compared.scores)], high=compared.metric.bounds[1]
        )
        low = max(low, -1.0)  # as in the results
        label = f"{model_name(report.num_columns)}: {compared.model.value:.3f}"
        own_bar = charts.interval_bar(compared.model, (low, high), kind="model", label=label)
        for score in compared.scores:
            label = f"{score.model.name}: {score.value.value:.3f}"
            rows.append(_SimpleRow(score, charts.interval_bar(score.value, (low, high), label=label)))
    weights = report.fusion_weights.get(target.name, "")
    return ReportSection(
        template="simple_baselines.html.j2",
        values={
            "target": target.name,
            "compared": compared,
            "metric": metric,
            "arrow": "↑" if compared is None or compared.metric.higher_is_better else "↓",
            "own_bar": own_bar,
            "scale": f"{metric}, {axis_end(low)} to {axis_end(high)}",
            "model": model_name(report.num_columns),
            "split": report.split,
            "confidence": report.evaluation.confidence,
            "rows": rows,
            "weights": weights[:1].upper() + weights[1:],
        },
    )


def _importance(report: Report, contribution: TargetContributions, contributions: Contributions) -> ReportSection:
    """What is lost without each column, what it gives alone and its share, and every subset's score."""
    measure = contribution.measures[0]
    scale = charts.domain([column.drop[measure] for column in contribution.ranked])
    ranked = sorted(contribution.subsets, key=lambda entry: -entry[1][measure].value)[:_MAX_SUBSETS]
    low, _ = charts.domain([values[measure] for _, values in ranked])
    return ReportSection(
        template="importance.html.j2",
        values={
            "contribution": contribution,
            "available": contributions.num_available,
            "measure": measure,
            "finer": contribution.measures[1:],
            "scale": scale,
            "badges": _BADGES,
            "trained_alone": trained_alone(report, contribution),
            "confidence": contributions.confidence,
            "subsets": [(names, values[measure]) for names, values in ranked],
            "subset_scale": (max(low, -1.0), 1.0),
        },
    )


def trained_alone(report: Report, contribution: TargetContributions) -> dict[str, Interval]:
    """By column the score of a model of it alone, where there is one."""
    each = {column.name: report.trained_alone(contribution.target, column) for column in contribution.columns}
    return {name: value for name, value in each.items() if value is not None}


def model_name(num_columns: int) -> str:
    """The trained model, beside its baselines; one of a single column fuses nothing."""
    return "Fused model" if num_columns > 1 else "Model"


def _training(report: Report) -> dict[str, Any] | None:
    """Loss, headline and what chose the epoch over the epochs; None where nothing was trained."""
    # A run that was killed and resumed logs an epoch twice: the later line counts.
    epochs = {record["epoch"]: record for record in report.history if record.get("event", "epoch") == "epoch"}
    if not epochs:
        return None

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

    def named_series(key: str) -> tuple[str, list[tuple[float, float]]]:
        words = key.rpartition("/")[2].replace("_", " ") if len(targets) == 1 else key
        return words, series("validation", key)

    # Losses that are no same quantity never share an axis.
    validation = series("validation", "loss")
    losses = [("training", series("loss")), *([("validation", validation)] if validation else [])]
    best = [epoch for epoch, record in epochs.items() if record.get("best")]
    end: Mapping[str, Any] = next((record for record in reversed(report.history) if record.get("event") == "end"), {})
    mark = float(max(best)) if best else None
    monitored = [key for key in end.get("monitored", ()) if key != "loss"]
    headlines = [f"{target.name}/{headline_metric(target).name}" for target in targets]
    others = [f"{target.name}/log_loss" for target in targets] if not validation else []
    figures = [
        charts.line_chart("Validation: what the epoch is chosen by", [named_series(key)], mark=mark)
        for key in monitored
    ]
    figures += [
        charts.line_chart("Validation", [named_series(key)], mark=mark)
        for key in dict.fromkeys([*headlines, *others])
        if key not in monitored
    ]
    logged = [charts.line_chart(name, [("training", series("heads", name))], mark=mark) for name in report.logged]
    return {
        "num_epochs": len(epochs),
        "best": None if mark is None else f"{mark:g}",
        "judged": str(end.get("judged") or ""),
        "chosen_by": ", ".join(named_series(key)[0] for key in end.get("monitored", ())),
        "is_same_loss": bool(validation),
        "figures": [*figures, charts.line_chart("Loss", losses, mark=mark), *logged],
    }


def _missing(report: Report) -> dict[str, Any]:
    """Per column the share of rows in which it is absent, by split."""
    splits = list(dict.fromkeys(split for by_split in report.missing.values() for split in by_split))
    rows = []
    for column, by_split in report.missing.items():
        shares = [by_split.get(split, math.nan) for split in splits]
        worst = max([0.0, *(share for share in shares if math.isfinite(share))])
        bar = charts.interval_bar(Interval(worst), (0.0, 1.0), label=f"{100 * worst:.1f}% missing")
        rows.append((column, bar, shares))
    return {"splits": splits, "rows": rows}


def _metric_lines(evaluation: Evaluation, target: Target) -> list[tuple[Metric, Interval, str]]:
    """Every metric with its value, or why it has none."""
    reasons = evaluation.undefined[target.name]
    metrics = evaluation.metrics[target.name]
    return [(info, metrics[info.name], reasons.get(info.name, "")) for info in metrics_of(target)]

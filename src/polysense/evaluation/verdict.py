"""The verdict on a model in words: better than guessing, than its best column, than simple models, than their mean?

One wording for the report, report.md and the terminal. Every comparison is read from a paired difference, row by row on
the same resamples, and says "better" or "worse" only where its interval leaves out zero; so no sentence can contradict
the table that it stands above. The best of several rivals is chosen on the scored rows, which favors the rival.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polysense.core.json import json_object
from polysense.core.metric import Metric
from polysense.core.schema import Target
from polysense.core.spelling import enumerated
from polysense.evaluation.baselines import CONSTANT, SHUFFLED, UNIMODAL_ENSEMBLE, baseline_name, column_of_unimodal
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import (
    FEWEST_ROWS,
    MOST_NAMES,
    ColumnContribution,
    Contributions,
    TargetContributions,
    Verdict,
    amount,
)
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.significance import Outcome
from polysense.evaluation.simple_baselines import (
    AVERAGE,
    BaselineScore,
    SimpleModel,
    TargetBaselines,
    compare_with_simple,
)
from polysense.evaluation.target_metrics import headline_metric

__all__ = ["Rival", "RivalScore", "TargetVerdict", "rounded", "verdicts"]


_FEWEST_TOGETHER = 3
"""Columns of one verdict that are said at once."""

_SAID = {Verdict.INCONCLUSIVE: "inconclusive", Verdict.NO_HELP: "no help", Verdict.HURTS: "it hurts"}
"""The verdicts that ask for something, in a sentence."""


class Rival(StrEnum):
    """What a model has to beat."""

    GUESSING = "guessing"
    SINGLE = "the best single column trained alone"
    SIMPLE = "the best simple baseline"
    ENSEMBLE = "the ensemble"
    SHUFFLED = "itself with other rows' inputs"


@dataclass(frozen=True, kw_only=True)
class RivalScore:
    """The model beside a rival on the same rows.

    Attributes:
        rival: What it is.
        name: Which one: "image", "boosting of all columns".
        value: Its headline metric.
        gain: By how much the model is better, paired; below zero where it is worse, also of a metric of which less is
            better.
        outcome: What may be said.
        of_many: Among how many it is the best on these rows.
    """

    rival: Rival
    name: str
    value: Interval
    gain: Interval
    outcome: Outcome
    of_many: int = 1

    @property
    def words(self) -> str:
        """The rival in a sentence."""
        return self.rival.value if self.name == self.rival.value else f"{self.rival.value} ({self.name})"

    @property
    def beside(self) -> str:
        """The rival and by how much the better of both is better; of two that do not differ, the difference."""
        if self.outcome is not Outcome.NONE:
            return f"{self.words} {_by(self)}"
        name = "" if self.name == self.rival.value else f"{self.name}: "
        sign = "+" if self.gain.value > 0 and rounded(self.gain.value) != "0.000" else ""
        return (
            f"{self.rival.value} ({name}{sign}{rounded(self.gain.value)}, {rounded(self.gain.low)} to "
            f"{rounded(self.gain.high)})"
        )


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """What may be said of a model's prediction of one target.

    Attributes:
        target: Its name.
        metric: The headline metric.
        value: The model's.
        num_rows: Rows that were scored.
        split: What these are called.
        rivals: What it is compared with.
        chose: What of the model these rows also chose, in words; "" for nothing; None where that is not known.
        is_one_group: Whether all scored rows are of one group, such as one speaker.
        columns: What is to be done about columns, in sentences.
        advice: What the training says, in a sentence; "" for nothing.
    """

    target: str
    metric: Metric
    value: Interval
    num_rows: int
    split: str
    rivals: tuple[RivalScore, ...] = ()
    chose: str | None = None
    is_one_group: bool = False
    columns: tuple[str, ...] = ()
    advice: str = ""

    @property
    def rows(self) -> str:
        """The scored rows in words."""
        return f"{self.num_rows:,} {self.split} {'row' if self.num_rows == 1 else 'rows'}"

    def sentence(self) -> str:
        """How good the model is, beside what, and how sure that is."""
        name = self.metric.name.replace("_", " ")
        if not math.isfinite(self.value.value):
            return f"{self.target}: {name} has no value on {self.rows}, so nothing can be said of the model."
        head = f"{self.target}: {name} {rounded(self.value.value)}{_between(self.value)} on {self.rows}"
        if self.num_rows < FEWEST_ROWS:
            return f"{head}; so few rows say nothing beside a baseline, {FEWEST_ROWS} are needed."
        parts = []
        for outcome, words in (
            (Outcome.BETTER, "better than"),
            (Outcome.NONE, "not measurably different from"),
            (Outcome.WORSE, "worse than"),
        ):
            each = [rival.beside for rival in self.rivals if rival.outcome is outcome]
            if each:
                parts.append(f"{words} {enumerated(each)}")
        unclear = [rival.words for rival in self.rivals if rival.outcome is Outcome.NO_CLAIM]
        if unclear:
            parts.append(f"no claim beside {enumerated(unclear)}, since there are no intervals")
        return f"{head}: {'; '.join(parts)}." if parts else f"{head}."

    def caveats(self) -> list[str]:
        """What makes the score look better or worse than it is."""
        results = []
        if self.chose:
            results.append(f"The scored rows also chose {self.chose}, which favors the model: test it on other rows.")
        elif self.chose is not None:
            results.append(f"The {self.split} rows chose nothing of the model.")
        if self.is_one_group:
            results.append(
                f"All {self.split} rows are of one group that the split keeps whole, such as one speaker: the "
                "intervals are over its rows, and say nothing of other groups."
            )
        best = [rival for rival in self.rivals if rival.of_many > 1]
        if best:
            kinds = enumerated([rival.rival.value.removeprefix("the ") for rival in best])
            results.append(f"The {kinds} {'is' if len(best) == 1 else 'are'} chosen on these rows, which favors it.")
        return results

    def next_steps(self) -> list[str]:
        """What to do now, in sentences."""
        steps = []
        worse = [rival for rival in self.rivals if rival.outcome is Outcome.WORSE]
        single = next((rival for rival in worse if rival.rival is Rival.SINGLE), None)
        for rival in worse:
            match rival.rival:
                case Rival.SIMPLE if single is not None and rival.name == single.name:
                    pass  # it is the same model
                case Rival.GUESSING:
                    steps.append("The model is worse than guessing: look at the labels and the split first.")
                case Rival.SINGLE:
                    steps.append(f"One column trained alone, {rival.name}, is better {_by(rival)}: use it.")
                case Rival.SIMPLE:
                    steps.append(f"A simple model, {rival.name}, is better {_by(rival)}: use it.")
                case Rival.SHUFFLED:
                    pass  # said below, of one that is no better too
                case Rival.ENSEMBLE:
                    steps.append(f"The ensemble ({rival.name}) is better {_by(rival)}: use it.")
        beaten = {rival.rival for rival in self.rivals if rival.outcome in (Outcome.NONE, Outcome.WORSE)}
        if any(rival.rival is Rival.GUESSING and rival.outcome is Outcome.NONE for rival in self.rivals):
            steps.append(
                "The model can't be told from guessing: check that the columns can tell the target, or collect rows."
            )
        if Rival.SHUFFLED in beaten:
            steps.append(
                "With the files of other rows (all inputs, where there are no files) the model does as well: it does "
                "not use them. Take a pretrained encoder, train longer, or collect rows."
            )
        # Of one that is not to be used, or knows nothing, it does not matter what its columns add.
        if single is None and Rival.GUESSING not in beaten:
            steps += self.columns
        if self.advice:
            steps.append(f"{_capital(self.advice)}.")
        return steps

    def lines(self) -> list[str]:
        """All of it, sentence by sentence."""
        steps = self.next_steps()
        return [self.sentence(), *self.caveats(), *(f"Next: {step}" for step in steps)]

    def as_json(self) -> dict[str, Any]:
        """For verdict.json."""
        return {
            "target": self.target,
            "metric": self.metric.name,
            **self.value.as_json(),
            "num_rows": self.num_rows,
            "split": self.split,
            "sentence": self.sentence(),
            "caveats": self.caveats(),
            "next_steps": self.next_steps(),
            "rivals": [json_object(rival) for rival in self.rivals],
        }


def verdicts(
    evaluation: Evaluation,
    *,
    split: str,
    comparisons: Mapping[str, Evaluation],
    simple_baselines: Mapping[str, TargetBaselines] | None = None,
    contributions: Contributions | None = None,
    chose: str | None = None,
    advice: str = "",
    seed: int = 0,
) -> tuple[TargetVerdict, ...]:
    """The verdict on each target.

    Args:
        evaluation: Of the model.
        split: What the rows are called.
        comparisons: Other predictions of the same rows, by name.
        simple_baselines: By target the model beside simple ones.
        contributions: What each column contributed, on these rows.
        chose: See `TargetVerdict`.
        advice: Likewise.
        seed: Of the resamples, that of the evaluation.
    """
    results = []
    for target in evaluation.targets:
        metric = headline_metric(target)
        simple = (simple_baselines or {}).get(target.name)
        measured = () if contributions is None else contributions.targets
        columns = next((one for one in measured if one.target == target.name), None)
        results.append(
            TargetVerdict(
                target=target.name,
                metric=metric,
                value=evaluation.metrics[target.name][metric.name],
                num_rows=evaluation.num_counted(target.name),
                split=split,
                rivals=_rivals(evaluation, target, metric, comparisons, simple, seed),
                chose=chose,
                is_one_group=evaluation.is_one_group,
                columns=() if columns is None else tuple(_column_steps(columns)),
                advice=advice,
            )
        )
    return tuple(results)


def rounded(value: float) -> str:
    """A metric as the tables show it."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"
    return "0.000" if digits == "-0.000" else digits.replace("-", "−")


def _rivals(
    evaluation: Evaluation,
    target: Target,
    metric: Metric,
    comparisons: Mapping[str, Evaluation],
    simple: TargetBaselines | None,
    seed: int,
) -> tuple[RivalScore, ...]:
    """Each kind's best rival, paired."""
    known = {
        name: other
        for name, other in comparisons.items()
        if other.num_rows == evaluation.num_rows and math.isfinite(other.value(target.name, metric.name))
    }
    singles = {name: column for name in known if (column := column_of_unimodal(name)) is not None}
    models = [SimpleModel(name=name, columns=(singles[name],) if name in singles else ()) for name in known]
    scores = compare_with_simple(
        evaluation,
        target,
        models,
        {name: other.statistics[target.name] for name, other in known.items()},
        bootstrap=evaluation.num_resamples,
        seed=seed,
    ).scores
    by_name = {score.model.name: score for score in scores}
    results = []
    if CONSTANT in by_name:
        results.append(_rival(Rival.GUESSING, baseline_name(CONSTANT, target), by_name[CONSTANT], metric))
    if SHUFFLED in by_name:
        results.append(_rival(Rival.SHUFFLED, Rival.SHUFFLED, by_name[SHUFFLED], metric))
    simple_scores = () if simple is None else simple.scores
    alone = [(singles[name], by_name[name]) for name in singles]
    alone += [(score.model.name, score) for score in simple_scores if len(score.model.columns) == 1]
    columns = {*singles.values(), *(column for score in simple_scores for column in score.model.columns)}
    if alone and len(columns) > 1:  # of one column the model is one itself
        name, best = _best(alone, metric)
        results.append(_rival(Rival.SINGLE, name, best, metric, len(alone)))
    if simple_scores:
        finite = [(score.model.name, score) for score in simple_scores if math.isfinite(score.value.value)]
        if finite:
            name, best = _best(finite, metric)
            results.append(_rival(Rival.SIMPLE, name, best, metric, len(finite)))
    mean = next((score for score in simple_scores if score.model.name == AVERAGE), None)
    if UNIMODAL_ENSEMBLE in by_name:
        name = "the mean of the models of one column each"
        results.append(_rival(Rival.ENSEMBLE, name, by_name[UNIMODAL_ENSEMBLE], metric))
    elif mean is not None and math.isfinite(mean.value.value):
        results.append(_rival(Rival.ENSEMBLE, "the mean of the simple models", mean, metric))
    return tuple(results)


def _rival(rival: Rival, name: str, score: BaselineScore, metric: Metric, of_many: int = 1) -> RivalScore:
    return RivalScore(
        rival=rival,
        name=name,
        value=score.value,
        gain=score.difference if metric.higher_is_better else _turned(score.difference),
        outcome=score.outcome,
        of_many=of_many,
    )


def _best(scores: Sequence[tuple[str, BaselineScore]], metric: Metric) -> tuple[str, BaselineScore]:
    sign = 1.0 if metric.higher_is_better else -1.0
    finite = [each for each in scores if math.isfinite(each[1].value.value)] or list(scores)
    return max(finite, key=lambda each: sign * each[1].value.value)


def _turned(effect: Interval) -> Interval:
    return Interval(-effect.value, -effect.high, -effect.low)


def _column_steps(contribution: TargetContributions) -> list[str]:
    """What to do about the columns that do not clearly help; several of one verdict are said at once."""
    if contribution.num_rows < FEWEST_ROWS:
        return []
    first, by_verdict = contribution.measures[0], dict[Verdict, list[ColumnContribution]]()
    for column in contribution.ranked:
        # Of a model that knows nothing something else is said.
        if column.verdict is not Verdict.INCONCLUSIVE or not column.drop[first].low > 0:
            by_verdict.setdefault(column.verdict, []).append(column)
    steps: list[str] = []
    for verdict, columns in by_verdict.items():
        few = [[column] for column in columns] if len(columns) < _FEWEST_TOGETHER else [columns]
        steps += [_step(verdict, each, contribution) for each in few if verdict in _SAID]
    return steps


def _step(verdict: Verdict, columns: Sequence[ColumnContribution], contribution: TargetContributions) -> str:
    """What to do about some columns of one verdict."""
    names, is_one = (
        enumerated([column.name for column in columns], MOST_NAMES),
        len(columns) == 1 and not columns[0].is_group,
    )
    adds = f"{names} {'adds' if is_one else 'add'} {_drops(columns, contribution)}: {_SAID[verdict]}"
    drop = "drop it" if is_one else "drop them" if len(columns) == 1 else "drop one after the other"
    if verdict is not Verdict.INCONCLUSIVE:
        return f"{adds}; {drop}."
    known = [column.rows_to_tell for column in columns if column.rows_to_tell is not None]
    test = "test it" if is_one else "test them"
    if len(known) < len(columns):
        return f"{adds}; {drop}, or {test} on more rows."
    return f"{adds}; {drop}, or {test} on about {_two_digits(max(known) - contribution.num_rows):,} more rows to tell."


def _drops(columns: Sequence[ColumnContribution], contribution: TargetContributions) -> str:
    """What removing each costs: of one with its interval, of several from the lowest to the highest."""
    if len(columns) == 1:
        return _drop(columns[0], contribution)
    measure = contribution.measures[0]
    values = sorted(columns, key=lambda column: column.drop[measure].value)
    ends = [amount(measure, column.drop[measure].value) for column in (values[0], values[-1])]
    every = [column.drop[measure] for column in columns]
    between = ""
    if all(each.has_bounds for each in every):
        low, high = min(each.low for each in every), max(each.high for each in every)
        between = f" ({amount(measure, low)} to {amount(measure, high)})"
    return f"{ends[0] if ends[0] == ends[1] else ' to '.join(ends)}{_unit(contribution)}{between}"


def _drop(column: ColumnContribution, contribution: TargetContributions) -> str:
    measure = contribution.measures[0]
    return f"{amount(measure, column.drop[measure].value)}{_unit(contribution)}{_range(column, contribution)}"


def _range(column: ColumnContribution, contribution: TargetContributions) -> str:
    measure = contribution.measures[0]
    drop = column.drop[measure]
    return f" ({amount(measure, drop.low)} to {amount(measure, drop.high)})" if drop.has_bounds else ""


def _unit(contribution: TargetContributions) -> str:
    return f" {contribution.measures[0].in_sentence}"


def _between(value: Interval) -> str:
    return f" ({rounded(value.low)} to {rounded(value.high)})" if value.has_bounds else ""


def _by(rival: RivalScore) -> str:
    """By how much the better of both is better."""
    gain = _turned(rival.gain) if rival.outcome is Outcome.WORSE else rival.gain
    return f"by {rounded(gain.value)}{_between(gain)}"


def _two_digits(number: int) -> int:
    """A count as precise as an estimate is."""
    return int(float(f"{number:.1e}"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

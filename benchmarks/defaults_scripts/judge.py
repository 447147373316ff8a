"""Both sides' predictions of the same test rows: metrics with intervals, paired differences, and a Markdown table.

A resample draws whole groups where the test rows have twenty or more of them: rows of one patient or dialogue are not
independent. Both sides are scored on the same resamples, so the interval of their difference is paired. Its p value is
the share of resamples on the other side of 0, and Holm's correction runs over the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binom

from defaults_scripts.tables import GROUP, SPLIT, TEST
from polysense.core.metric import Scorer
from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.evaluation.significance import holm
from polysense.tasks.classification.metrics import ClassificationScorer
from polysense.tasks.regression.metrics import RegressionScorer

__all__ = ["Difference", "Judged", "calibration", "difference", "markdown", "resampled_metrics", "row_weights"]

NUM_RESAMPLES = 4000
_COVERED = 0.9
_SMALL = 2000
_CALIBRATED, _FEWEST_ROWS = 0.02, 500
"""The debiased ECE that a calibrated model may have, and the test rows below which nobody can tell."""
_FEWEST_GROUPS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """One side's metrics on the test rows.

    Attributes:
        values: Per metric over all rows.
        resampled: Per metric float64 [resamples].
    """

    values: Mapping[str, float]
    resampled: Mapping[str, np.ndarray]

    def interval(self, metric: str) -> Interval:
        """The 95% interval."""
        return interval(self.values[metric], self.resampled[metric], 0.95)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The command's metric less the other side's; higher is better.

    Attributes:
        value: With its paired 95% interval.
        p: Two-sided, of the bootstrap.
    """

    value: Interval
    p: float


def row_weights(groups: Sequence[str], num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """How often each row is drawn; float64 [resamples, rows]. Whole groups, where there are enough."""
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < _FEWEST_GROUPS or len(names) == len(index):
        return np.concatenate(list(multiplicities(len(index), num_resamples, 0)))
    return np.concatenate([weights[:, index] for weights in multiplicities(len(names), num_resamples, 0)])


def resampled_metrics(folder: Path, predictions: Path, num_resamples: int = NUM_RESAMPLES) -> Judged:
    """Scores a file of predictions.

    Args:
        folder: Of the table.
        predictions: An .npz file with `predicted`, or with `probabilities` and `classes`.
        num_resamples: Of the bootstrap.
    """
    facts = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    frame = pl.read_csv(folder / "scripts.csv", infer_schema_length=0)
    classes = sorted(frame.filter(pl.col(SPLIT) != TEST)[facts["target"]].unique())
    frame = frame.filter(pl.col(SPLIT) == TEST)
    scorer = _scorer(facts, frame[facts["target"]], classes, predictions)
    # The intervals are of the metric and of three that tell why; ranking 4,000 times is slow where nobody asks.
    rankings = facts["metric"] == "auroc"
    weights = row_weights(frame[GROUP].to_list(), num_resamples)
    values = scorer(np.ones((1, len(frame))), rankings=rankings)
    parts = [scorer(weights[start : start + 200], rankings=rankings) for start in range(0, num_resamples, 200)]
    kept = [name for name in (facts["metric"], "log_loss", "ece", "accuracy") if name in values]
    return Judged(
        values={name: float(values[name][0]) for name in kept},
        resampled={name: np.concatenate([part[name] for part in parts]) for name in kept},
    )


def _scorer(facts: Mapping[str, Any], truth: pl.Series, classes: Sequence[str], predictions: Path) -> Scorer:
    with np.load(predictions, allow_pickle=False) as stored:
        if facts["is_regression"]:
            known = truth.cast(pl.Float64).to_numpy()[:, None]
            return RegressionScorer(stored["predicted"].astype(np.float64).reshape(-1, 1), known, [facts["target"]])
        order = [list(stored["classes"]).index(name) for name in classes]
        probabilities = stored["probabilities"][:, order].astype(np.float64)
    ids = np.array([classes.index(value) for value in truth])
    return ClassificationScorer(probabilities.argmax(axis=1), probabilities, ids, len(classes))


def difference(command: Judged, other: Judged, metric: str) -> Difference:
    """The command less the other side, on the same resamples."""
    resampled = command.resampled[metric] - other.resampled[metric]
    resampled = resampled[np.isfinite(resampled)]
    smaller = 1 + min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    value = command.values[metric] - other.values[metric]
    return Difference(value=interval(value, resampled, 0.95), p=min(1.0, 2 * smaller / (len(resampled) + 1)))


def markdown(results: Mapping[str, Mapping[str, Mapping[str, Any]]], output: Path, command: str, other: str) -> str:
    """A table of one side against another, over all tables that have both.

    Args:
        results: Per table and side what was recorded.
        output: The folder of results.
        command: The side that is judged.
        other: What it is compared with.
    """
    names = [name for name, sides in results.items() if command in sides and other in sides]
    judged = {
        (name, side): resampled_metrics(output / "tables" / name, output / results[name][side]["predictions"])
        for name in names
        for side in (command, other)
    }
    metrics = {name: str(results[name][command]["metric"]) for name in names}
    differences = [difference(judged[name, command], judged[name, other], metrics[name]) for name in names]
    corrected = holm([one.p for one in differences])
    lines = [
        f"| table (training, test rows) | metric | {command} | {other} | difference, paired 95% | p (Holm) "
        "| seconds | of processor | GiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one, p in zip(names, differences, corrected, strict=True):
        sides = results[name]
        metric, facts = metrics[name], sides[command]
        of_all = "" if facts["rows"] == facts["available"] else f" of {facts['available']:,}"
        verdict = "" if p >= 0.05 else " better" if one.value.value > 0 else " **worse**"
        lines.append(
            f"| {name} ({facts['rows']:,}{of_all}, {facts['test_rows']:,}) | {metric} "
            f"| {_shown(judged[name, command].interval(metric))} | {_shown(judged[name, other].interval(metric))} "
            f"| {_shown(one.value, '+')} | {p:.3f}{verdict} "
            f"| {sides[command]['seconds']:.0f} / {sides[other]['seconds']:.0f} "
            f"| {sides[command]['processor']:.0f} / {sides[other]['processor']:.0f} "
            f"| {sides[command]['peak'] / 2**30:.1f} / {sides[other]['peak'] / 2**30:.1f} |"
        )
    small = [name for name in names if results[name][command]["rows"] < _SMALL]
    if small:
        wall, processor = (
            np.median([results[name][command][cost] for name in small]) for cost in ("seconds", "processor")
        )
        lines.append(
            f"\nMedian of the {len(small)} tables under {_SMALL:,} rows: {wall:.0f} s by the clock, {processor:.0f} s "
            "of processor time."
        )
    return "\n".join(lines)


def calibration(results: Mapping[str, Mapping[str, Mapping[str, Any]]], output: Path, side: str) -> str:
    """How far the probabilities and the prediction intervals of one side hold on the test rows.

    Classes: the debiased ECE that the run reports, judged where there are 500 test rows or more: its interval has to
    hold .02 or less. Numbers: the share of rows within the interval of 90%, beside where the binomial distribution of
    that many rows has 95% of such shares.

    Args:
        results: Per table and side what was recorded.
        output: The folder of results, with the runs in it.
        side: `command` or `command+weights`.

    Returns:
        The table; nothing where no run can be judged.
    """
    lines = []
    for name, sides in results.items():
        path = output / "runs" / f"{name}.{side}" / "metrics.json"
        if side not in sides or not path.exists():
            continue
        rows = int(sides[side]["test_rows"])
        (metrics,) = json.loads(path.read_text(encoding="utf-8"))["test"].values()
        if "coverage" in metrics:
            low, high = (float(binom.ppf(share, rows, _COVERED)) / rows for share in (0.025, 0.975))
            value = metrics["coverage"]["value"]
            holds = f"{'yes' if low <= value <= high else '**no**'} ({low:.3f} to {high:.3f})"
            lines.append(f"| {name} | {rows:,} | coverage of 90% | {value:.3f} | {holds} |")
        elif "ece_debiased" in metrics and rows >= _FEWEST_ROWS:
            one = metrics["ece_debiased"]
            if one["low"] is None:  # of a single group there is no interval over groups
                lines.append(f"| {name} | {rows:,} | debiased ECE | {one['value']:.3f} | one group: no interval |")
                continue
            holds = "yes" if one["low"] <= _CALIBRATED else "**no**"
            value = f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
            lines.append(f"| {name} | {rows:,} | debiased ECE | {value} | {holds} |")
    header = ["| table | test rows | quantity | value | holds |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*header, *lines]) if lines else ""


def _shown(one: Interval, sign: str = "") -> str:
    return f"{one.value:{sign}.3f} ({one.low:{sign}.3f} to {one.high:{sign}.3f})"

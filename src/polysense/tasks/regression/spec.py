"""Regression: one or several numbers for a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import ConformalSets, PredictedNumbers, RowScore
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.task_spec import Answer, Arrays, Contribution, Explained, Measure
from polysense.core.value_task import ValueTaskSpec
from polysense.data.editors import NumberEditor
from polysense.tasks.regression.conformal import conformal_margin
from polysense.tasks.regression.metrics import RegressionScorer, regression_metrics
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["SPEC", "RegressionSpec"]

_FARTHEST = 1e30  # standard deviations


class _Contribution(Contribution[RegressionTarget]):
    """R2, whose denominator is known only when all rows are: rows leave their squared errors until then."""

    measures = (Measure("r2", "R²"),)
    is_prior_without_columns = True

    def row_values(self, target: RegressionTarget, statistics: Statistics) -> np.ndarray:
        error: np.ndarray = statistics["predicted"].astype(np.float64) - statistics["truth"]
        return error**2

    def measured(self, target: RegressionTarget, values: np.ndarray, truth: np.ndarray) -> np.ndarray:
        truth = truth.astype(np.float64)
        known = ~np.isnan(truth)
        counts = known.sum(axis=0)
        means = np.where(known, truth, 0.0).sum(axis=0) / np.maximum(counts, 1)
        variance = np.where(known, (truth - means) ** 2, 0.0).sum(axis=0) / np.maximum(counts, 1)
        # A column that does not vary among these rows has no R2; its training spread keeps the errors' scale.
        training = np.array(target.std or (1.0,) * len(target.columns), dtype=np.float64) ** 2
        variance = np.where(variance > 0, variance, np.where(training > 0, training, 1.0))
        # Weighted so that the mean over rows is the mean over columns of each one's R2, unknown values counted out.
        share = len(truth) / np.maximum(counts, 1) * (counts > 0) / max(int((counts > 0).sum()), 1)
        explained = np.where(known[:, None, :], 1.0 - values / variance, 0.0)
        scores: np.ndarray = (explained * share).sum(axis=2)
        return scores[None]


class _Explained(Explained[RegressionTarget]):
    """A predicted number in the table's own units; of the first column unless a user names another."""

    def choices(self, target: RegressionTarget) -> Sequence[str]:
        return target.columns

    def chosen(self, target: RegressionTarget, prediction: Arrays) -> int:
        return 0

    def numbers(self, target: RegressionTarget, prediction: Arrays, choice: int) -> np.ndarray:
        values: np.ndarray = prediction["values"][:, choice].astype(np.float64)
        return values

    def title(self, target: RegressionTarget, choice: int) -> str:
        return target.columns[choice]

    def answers(self, target: RegressionTarget, prediction: Arrays, choice: int) -> None:
        return None


class RegressionSpec(ValueTaskSpec[RegressionTarget]):
    """Numbers in the table's units. Its row statistics: `truth` (NaN = unknown) and `predicted`, [rows, columns]."""

    name = "regression"
    record = RegressionTarget
    rank = 30
    decode = "polysense.tasks.regression.predicted:predicted_columns"
    answer = Answer.NUMBER
    infer = "polysense.tasks.regression.infer:claim"
    proper_score = "mse_scaled"
    contribution = _Contribution()
    explained = _Explained()
    report_section = "polysense.tasks.regression.report_section:report_sections"
    mistakes = "polysense.tasks.regression.mistakes:mistakes"
    editor = NumberEditor

    def nothing(self, target: RegressionTarget, num_rows: int) -> np.ndarray:
        return np.full((num_rows, len(target.columns)), np.nan, dtype=np.float32)

    def metrics(self, target: RegressionTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            regression_metrics(target.columns),
            headline="r2",
            selection="r2",
            finer="mae",
            reported=("r2", "mae", "rmse", "pearson", "coverage"),
        )

    def scorer(self, target: RegressionTarget, statistics: Statistics) -> Scorer:
        rows = np.flatnonzero(statistics["present"])
        return RegressionScorer(
            statistics["predicted"][rows],
            statistics["truth"][rows],
            target.columns,
            target.column_scales(),
            (statistics["low"][rows], statistics["high"][rows]) if "low" in statistics else None,
        )

    def baselines(self, target: RegressionTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The training mean."""
        means = self.prior(target)["values"]

        def mean(statistics: Statistics) -> Statistics:
            return {
                **_without_intervals(statistics),
                "predicted": np.broadcast_to(means, (len(statistics["present"]), len(means))),
            }

        return {"mean baseline": mean}

    def prior(self, target: RegressionTarget) -> Arrays:
        """The training means, and the range of the middle 90% of the training values."""
        ranges = np.array(target.ranges or ((np.nan, np.nan),) * len(target.columns), dtype=np.float32)
        means = np.array(target.mean or (0.0,) * len(target.columns), dtype=np.float32)
        return {"values": means, "low": ranges[:, 0], "high": ranges[:, 1]}

    def average(self, target: RegressionTarget, experts: Sequence[Statistics], weights: np.ndarray) -> Statistics:
        """The weighted mean of the experts' numbers."""
        stacked = np.stack([expert["predicted"] for expert in experts], axis=1)
        return {
            **_without_intervals(experts[0]),
            "predicted": np.einsum("re,rec->rc", weights, stacked).astype(np.float32),
        }

    def row_score(self, target: RegressionTarget, statistics: Statistics) -> RowScore:
        """The absolute error; of several columns the mean of theirs, each in its training deviations."""
        error = np.abs(statistics["predicted"].astype(np.float64) - statistics["truth"])
        unit = "".join(f" ({unit})" for unit in target.units[:1] if unit)
        if len(target.columns) > 1:
            error, unit = error / np.array(target.std or (1.0,) * len(target.columns)), " (standard deviations)"
        known = np.isfinite(error)
        mean = np.where(known, error, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        values = np.where(statistics["present"] & known.any(axis=1), mean, np.nan)
        return RowScore(name=f"mean absolute error{unit}", higher_is_better=False, values=values)

    def conformal(
        self, target: RegressionTarget, calibration: Statistics, judged: Statistics, level: float
    ) -> Sequence[ConformalSets]:
        """Intervals around the prediction, of one width in the units that the head computes in."""
        results = []
        for index, (column, scale) in enumerate(zip(target.columns, target.column_scales(), strict=True)):

            def read(statistics: Statistics, name: str, index: int = index) -> np.ndarray:
                return np.asarray(statistics[name][:, index], dtype=np.float64)

            known = calibration["present"] & np.isfinite(read(calibration, "truth"))
            truth, predicted = read(calibration, "truth")[known], read(calibration, "predicted")[known]
            distance = np.abs(scale.standardized(truth) - scale.standardized(predicted))
            with np.errstate(over="ignore"):
                reach = scale.restored(np.array([-_FARTHEST, _FARTHEST]))  # beyond it no margin is wide enough
            margin = conformal_margin(np.where((truth < reach[0]) | (truth > reach[1]), np.inf, distance), level)
            center, truth = scale.standardized(read(judged, "predicted")), read(judged, "truth")
            unit = "".join(f" ({unit})" for unit in target.units[index : index + 1] if unit)
            low, high = np.full(len(truth), -np.inf), np.full(len(truth), np.inf)
            if np.isfinite(margin):
                low, high = scale.restored(center - margin), scale.restored(center + margin)
            there = judged["present"] & np.isfinite(truth)
            results.append(
                ConformalSets(
                    name=column if len(target.columns) > 1 else "",
                    level=level,
                    method="split conformal intervals of absolute residuals (Lei et al., 2018)",
                    covered=np.where(there, (truth >= low) & (truth <= high), np.nan),
                    sizes=np.where(there, high - low, np.nan),
                    noun="intervals",
                    size=f"width of an interval{unit}",
                )
            )
        return results

    def numbers(self, target: RegressionTarget, statistics: Statistics) -> Sequence[PredictedNumbers]:
        """Each column's."""
        present = statistics["present"]
        return [
            PredictedNumbers(
                name=column,
                unit=target.units[index] if target.units else "",
                truth=np.where(present, statistics["truth"][:, index], np.nan).astype(np.float64),
                predicted=statistics["predicted"][:, index].astype(np.float64),
                low=statistics["low"][:, index].astype(np.float64) if "low" in statistics else None,
                high=statistics["high"][:, index].astype(np.float64) if "high" in statistics else None,
                level=target.interval,
            )
            for index, column in enumerate(target.columns)
        ]

    def spelled(self, target: RegressionTarget, value: np.ndarray) -> str:
        """Each number with its column's name, where there are several."""
        if len(value) == 1:
            return super().spelled(target, value)
        return ", ".join(f"{name} {number:.4g}" for name, number in zip(target.columns, value.tolist(), strict=True))


def _without_intervals(statistics: Statistics) -> Statistics:
    """What a model's intervals say is not true of another prediction."""
    return {name: array for name, array in statistics.items() if name not in ("low", "high")}


SPEC = RegressionSpec()

"""MissingRates: the score while more and more cells are missing at random, beside that of one column alone.

Each cell that is there goes missing with the same chance, by a draw that depends on its row and column alone. Beside
the model stands what a person could do without it: take, in each row, the best of the columns that are left, and ask
the model of that column alone. A fused model that is worse than that has not learned to be without its columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polysense.core.task_spec import Measure
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.audit.wording import UNTOLD, change, is_told, scored
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.contribution_result import FEWEST_ROWS
from polysense.evaluation.variant_scores import VariantScores

__all__ = ["BEST_COLUMN", "MODEL", "NO_COLUMN", "RATES", "MissingRates", "missing_rates"]

RATES = tuple(round(0.1 * step, 1) for step in range(10))
"""The shares of the cells that are missing."""

MODEL, BEST_COLUMN, NO_COLUMN = "model", "best column", "no column"
"""Who predicts; the last one has no column at any rate."""

_HALF = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class MissingRates(AuditPart):
    """The curve.

    Attributes:
        measure: Of the score; higher is better.
        num_rows: Rows measured.
        rates: Shares of the cells that are missing.
        model: The score at each rate.
        losses: The score at each rate less that at the first one; the intervals hold at once.
        area: The mean of the score over the rates.
        whole: The score of the rows as they are less that with no column, paired.
        columns: The columns, the best alone first, of which the best that is left is asked; none where there is one
            column, which is the model.
        best_column: Its score at each rate; none likewise.
        advantages: The model's score less that of the best column that is left, paired; the intervals hold at once.
        area_of_best_column: The mean of that score; None likewise.
    """

    name: ClassVar[str] = "missing_rates"
    title: ClassVar[str] = "Missing cells"
    template: ClassVar[str] = "audit_missing_rates.html.j2"

    measure: Measure
    num_rows: int
    rates: tuple[float, ...]
    model: tuple[Interval, ...]
    losses: tuple[Interval, ...]
    area: Interval
    whole: Interval
    columns: tuple[str, ...] = ()
    best_column: tuple[Interval, ...] = ()
    advantages: tuple[Interval, ...] = ()
    area_of_best_column: Interval | None = None

    def record(self) -> Mapping[str, object]:
        """See `AuditPart`."""
        curve: list[object] = []
        for i, rate in enumerate(self.rates):
            point: dict[str, object] = {
                "rate": rate,
                "model": self.model[i].as_json(),
                "loss": self.losses[i].as_json(),
            }
            if self.best_column:
                point |= {"best_column": self.best_column[i].as_json(), "advantage": self.advantages[i].as_json()}
            curve.append(point)
        area = self.area_of_best_column
        return {
            "measure": str(self.measure),
            "num_rows": self.num_rows,
            "curve": curve,
            "whole": self.whole.as_json(),
            "area": self.area.as_json(),
            "area_of_best_column": None if area is None else area.as_json(),
            "columns": list(self.columns),
        }

    def findings(self) -> Sequence[str]:
        """See `AuditPart`."""
        if self.num_rows < FEWEST_ROWS:
            return []
        if not is_told(self.whole):
            return [UNTOLD]
        half = self.rates.index(_HALF)
        loss, measure = self.losses[half], self.measure
        with_half = "With half of the cells missing at random"
        if loss.has_bounds and loss.high < 0:
            sentence = f"{with_half} the {measure.label} is {scored(self.model[half])}: {change(measure, loss)}."
        else:
            sentence = f"{with_half} no loss can be told: {change(measure, loss)}."
        results = [sentence]
        if self.best_column:
            behind = [i for i, gain in enumerate(self.advantages) if gain.has_bounds and gain.high < 0]
            if behind:
                worst = min(behind, key=lambda i: self.advantages[i].value)
                results.append(
                    f"Where {self.rates[worst]:.0%} of the cells are missing the best column that is left does better "
                    f"alone than the model with all that is left: {change(measure, self.advantages[worst])} for the "
                    "model. Train with more modality dropout (data.modality_dropout)."
                )
            elif self.advantages[half].has_bounds:
                results.append(
                    "At no rate does the best column that is left do measurably better alone; at half of the cells: "
                    f"{change(measure, self.advantages[half])} for the model."
                )
        return results


def missing_rates(
    target: str,
    scores: VariantScores[tuple[str, float]],
    num_rows: int,
    *,
    rates: Sequence[float] = RATES,
    columns: Sequence[str] = (),
    confidence: float = 0.95,
) -> MissingRates:
    """The part, from the scores at each rate.

    Args:
        target: The target's name.
        scores: By who predicts and the rate.
        num_rows: Rows measured.
        rates: The first is 0.
        columns: Those that the best column is chosen from, the best first; none where nobody but the model predicts.
        confidence: Of the intervals.
    """

    def curve(who: str) -> list[np.ndarray]:
        return [scores.unit((who, rate)) for rate in rates]

    measure = scores.measures[0]
    model = curve(MODEL)
    spread = rates[-1] - rates[0]
    # By trapezes, as a mean: 0.8 is what a model of 0.8 at all rates has.
    shares = np.zeros(len(rates))
    for i in range(len(rates) - 1):
        shares[i : i + 2] += (rates[i + 1] - rates[i]) / (2 * spread)

    def value(combination: np.ndarray) -> Interval:
        return scores.of(combination, confidence)[measure]

    def together(combinations: Sequence[np.ndarray]) -> tuple[Interval, ...]:
        return tuple(scores.first_together(combinations, confidence))

    best = curve(BEST_COLUMN) if columns else []
    return MissingRates(
        target=target,
        measure=measure,
        num_rows=num_rows,
        rates=tuple(rates),
        model=tuple(map(value, model)),
        losses=together([each - model[0] for each in model]),
        area=value(np.sum([share * each for share, each in zip(shares, model, strict=True)], axis=0)),
        whole=value(model[0] - scores.unit((NO_COLUMN, rates[0]))),
        columns=tuple(columns),
        best_column=tuple(map(value, best)),
        advantages=together([a - b for a, b in zip(model, best, strict=True)]) if best else (),
        area_of_best_column=(
            value(np.sum([share * each for share, each in zip(shares, best, strict=True)], axis=0)) if best else None
        ),
    )

"""Temperature: one number that divides all logits, fitted on rows that were not trained on.

It changes no decision, and takes most of a network's overconfidence away (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017, section 4.2). A Gaussian prior of deviation 1/2 around log 1, in nats over all rows, keeps a
handful of rows from moving it far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Temperature", "fit_temperature"]

_DEVIATION = 0.5
_FARTHEST = 3.0  # of the logarithm: a factor of 20


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What was fitted.

    Attributes:
        value: The temperature.
        before: The mean loss of the rows that fitted it, in nats, at temperature 1.
        after: The same at this one.
    """

    value: float
    before: float
    after: float

    def __str__(self) -> str:
        return (
            f"temperature {self.value:.2f}, with which their log loss is {self.after:.3f} in place of {self.before:.3f}"
        )


def fit_temperature(
    loss: Callable[[Float[Tensor, "rows outputs"]], Float[Tensor, " rows"]],
    logits: Float[Tensor, "rows outputs"],
    weights: Float[Tensor, " rows"],
) -> Temperature | None:
    """The temperature where the loss is least; None where no row counts.

    Args:
        loss: Of logits each row's loss, in nats.
        logits: Of rows that were not trained on.
        weights: How much each row counts; 0 where the truth is unknown.
    """
    from scipy.optimize import minimize_scalar

    logits, weights = logits.double(), weights.double()
    if not float(weights.sum()):
        return None

    def total(logarithm: float) -> float:
        with torch.no_grad():
            return float((loss(logits / math.exp(logarithm)) * weights).sum())

    def objective(logarithm: float) -> float:
        return total(logarithm) + 0.5 * (logarithm / _DEVIATION) ** 2

    best = float(minimize_scalar(objective, bounds=(-_FARTHEST, _FARTHEST), method="bounded").x)
    rows = float(weights.sum())
    return Temperature(value=math.exp(best), before=total(0.0) / rows, after=total(best) / rows)

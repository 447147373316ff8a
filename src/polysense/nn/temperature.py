"""Temperature: one number that divides all logits, fitted on rows that were not trained on.

It changes no decision, and takes most of a network's overconfidence away (Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017, section 4.2). A Gaussian prior of deviation 1/2 around log 1, in nats over all rows, keeps a
handful of rows from moving it far.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["fit_temperature"]

_DEVIATION = 0.5
_FARTHEST = 3.0  # of the logarithm: a factor of 20


def fit_temperature(loss: Callable[[float], Tensor]) -> float:
    """The temperature where the loss is least.

    Args:
        loss: The summed loss of all rows, in nats, with the logits divided by a number.
    """
    from scipy.optimize import minimize_scalar

    def objective(logarithm: float) -> float:
        with torch.no_grad():
            return float(loss(math.exp(logarithm))) + 0.5 * (logarithm / _DEVIATION) ** 2

    return math.exp(float(minimize_scalar(objective, bounds=(-_FARTHEST, _FARTHEST), method="bounded").x))

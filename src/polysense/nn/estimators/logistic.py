"""Logistic regression with a penalty of squares, along a path of penalties.

The optimum is scikit-learn's; the way there is shorter. Inputs are principal axes, or words of which each text has a
few, so the curvature of the loss is nearly diagonal and known: sums of squares along each axis, times how unsure the
model is, plus the penalty. Divided by its root, all coefficients are of one scale, and L-BFGS takes a dozen steps where
the spread of the axes would cost it hundreds. Each penalty starts from the optimum of the one before.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from polysense.nn.estimators.inputs import LinearInputs

__all__ = ["TOLERANCE", "LogisticPath"]

TOLERANCE = 1e-7
"""Of the gradient per root of the curvature. Scores are then within 1e-4 of the optimum's (1e-6 leaves 1.6e-4 in one
fit of a hundred), where scikit-learn's default leaves .1 of weak penalties."""

_MOST_STEPS = 500


class LogisticPath:
    """Fits of the same rows, one after another; of two classes the logit of the second, of more one for each.

    Args:
        inputs: Of the rows.
        classes: From 0, each at least once.
        weights: Of the rows, above 0.
    """

    def __init__(
        self,
        inputs: LinearInputs,
        classes: Int[np.ndarray, " rows"],
        weights: Float[np.ndarray, " rows"],
    ) -> None:
        num = int(classes.max()) + 1
        self._inputs, self._weights = inputs, weights[:, None]
        self._truth = (classes[:, None] == ([1] if num == 2 else np.arange(num))).astype(np.float64)
        self._squares = inputs.squares(weights)
        outputs = self._truth.shape[1]
        self._point = np.zeros((inputs.num_dimensions + 1, outputs))
        self._unsure = np.full(outputs, 0.25)

    def fitted(
        self, penalty: float, tolerance: float = TOLERANCE
    ) -> tuple[Float[np.ndarray, "inputs outputs"], Float[np.ndarray, " outputs"]]:
        """Coefficients and intercepts that minimize the rows' summed log loss plus half the penalty times the squares.

        Args:
            penalty: 1 / C; the intercepts are free of it.
            tolerance: Of the gradient, see `TOLERANCE`.
        """
        from scipy.optimize import minimize

        total = float(self._weights.sum())
        curvature = np.append(self._squares, total)[:, None] * self._unsure
        curvature[:-1] += penalty
        scale = 1 / np.sqrt(curvature)

        def objective(steps: np.ndarray) -> tuple[float, np.ndarray]:
            point = steps.reshape(scale.shape) * scale
            loss, residual, _ = self._loss(point)
            gradient = np.vstack([self._inputs.transposed_times(residual) + penalty * point[:-1], residual.sum(axis=0)])
            return loss + 0.5 * penalty * float((point[:-1] ** 2).sum()), (gradient * scale).ravel()

        result = minimize(
            objective,
            (self._point / scale).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MOST_STEPS, "gtol": tolerance, "ftol": 1e-15, "maxcor": 20},
        )
        self._point = result.x.reshape(scale.shape) * scale
        _, _, shares = self._loss(self._point)
        unsure = (self._weights * shares * (1 - shares)).sum(axis=0) / total
        self._unsure = np.clip(unsure, 1e-3, 0.25)
        return self._point[:-1], self._point[-1]

    def _loss(self, point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The summed loss, its derivative by each score, and the classes' probabilities."""
        scores = self._inputs.times(point[:-1]) + point[-1]
        if scores.shape[1] == 1:
            each = np.logaddexp(0.0, scores) - self._truth * scores
            shares = np.exp(-np.logaddexp(0.0, -scores))
        else:
            peak = scores.max(axis=1, keepdims=True)
            shares = np.exp(scores - peak)
            sums = shares.sum(axis=1, keepdims=True)
            each = peak + np.log(sums) - (self._truth * scores).sum(axis=1, keepdims=True)
            shares /= sums
        return float((self._weights * each).sum()), self._weights * (shares - self._truth), shares

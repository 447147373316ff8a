"""Ensemble weights: how much each expert of an ensemble head counts, fitted on rows that it was not trained on.

A few numbers on a few hundred rows: the weights that minimize the task's loss, with a Gaussian prior of standard
deviation 1 around the weights before fitting, in nats over all rows. So a handful of rows moves little, and many
decide.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import concatenate
from polysense.nn.ensemble_head import EnsembleHead, Experts
from polysense.nn.head import Head
from polysense.nn.held_out import HeldOut
from polysense.nn.model import MultimodalModel

__all__ = ["fit_ensemble_weights"]


def fit_ensemble_weights(model: MultimodalModel, rows: HeldOut) -> dict[str, dict[str, float]]:
    """Fits the weights of every ensemble head that asks for it (`weights: validation`), and puts them in.

    Args:
        model: In evaluation mode.
        rows: Validation rows, as this model reads them.

    Returns:
        Per target the experts' weights, all at least 0.
    """
    weights = {}
    for name, parts in rows.experts.items():
        head = model.head(name)
        assert isinstance(head, EnsembleHead)
        fitted = _fitted(head, parts)
        head.fitted.copy_(fitted)
        names = (*head.columns, "all columns")[: len(fitted)]
        weights[name] = dict(zip(names, fitted.tolist(), strict=True))
    return weights


def _fitted(head: EnsembleHead, rows: list[tuple[Experts, Truth, Tensor]]) -> Float[Tensor, " experts"]:
    """The non-negative weights where the loss is least."""
    from scipy.optimize import minimize

    prior = head.prior().double()
    if not rows:
        return prior.float()
    experts, truth, weights = concatenate(rows)
    inner: Head[object] = head.heads()[-1]

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            guess = torch.tensor(point, dtype=torch.float64, device=weights.device, requires_grad=True)
            combined = inner.combine(experts.each, (experts.present * guess).float(), head.space)
            losses = inner.loss(combined, truth)["loss"].total
            deviation = 0.5 * (guess - prior.to(guess.device)).square().sum()
            value = (deviation + (losses * weights).sum()) / weights.sum().clamp(min=1)
            (gradient,) = torch.autograd.grad(value, guess)
        return float(value.detach()), gradient.cpu().numpy()

    # From a little of everything: a weight of 0 of an expert that is perfect so far could not be told from none.
    start = prior.clamp(min=0.01).numpy()
    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(start))
    return torch.tensor(result.x, dtype=torch.float32)

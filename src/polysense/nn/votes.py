"""Fits how much each expert of a decision-level fusion counts, on rows that it was not trained on.

A few numbers on a few hundred rows: the votes that minimise the task's loss, with a Gaussian prior of standard
deviation 1 around the votes before fitting, in nats over all rows. So a handful of rows moves little, and many decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Batch, TargetBatch
from polysense.nn.model import MultimodalModel

__all__ = ["fit_votes"]

_MOST_STEPS = 500


def fit_votes(model: MultimodalModel, batches: Iterable[Batch]) -> Float[Tensor, " experts"]:
    """Fits the votes of the model's fusion and puts them in.

    Args:
        model: In evaluation mode; its fusion has `fits_votes`.
        batches: Validation rows with targets.

    Returns:
        The votes: the columns' in order, then the joint expert's if there is one. All at least 0.
    """
    outputs, present, targets, weights = _collect(model, batches)
    prior = model.fusion.prior().double().to(next(model.parameters()).device)
    if not outputs:
        model.fusion.set_votes(prior.float())
        return prior.float()

    def objective(votes: Tensor) -> Tensor:
        total = 0.5 * (votes - prior).square().sum()
        for name, parts in outputs.items():
            head = model.head(name)
            combined = head.combine(parts, (present * votes).float(), model.fusion.space)
            total = total + model.head_weights[name] * (head.row_losses(combined, targets[name]) * weights).sum()
        return total / max(len(weights), 1)

    # From a little of everything: a vote of 0 of a joint expert that is perfect so far could not be told from none.
    votes = _minimize(objective, prior.clamp(min=0.01)).float()
    model.fusion.set_votes(votes)
    return votes


def _minimize(objective: Callable[[Tensor], Tensor], start: Float[Tensor, " experts"]) -> Float[Tensor, " experts"]:
    """The non-negative point where a function of a few numbers is least, by L-BFGS-B."""
    from scipy.optimize import minimize  # 0.2 s and 36 MiB that only a fusion with fitted votes should cost

    def value_and_slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            at = torch.from_numpy(point).to(start.device).requires_grad_()
            value = objective(at)
            (slope,) = torch.autograd.grad(value, at)
        return float(value.detach()), slope.cpu().numpy()

    # The objective is computed in float32: below 1e-7 of its value there is only rounding.
    bounds = [(0.0, None)] * len(start)
    result = minimize(
        value_and_slope,
        start.cpu().numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-12, "gtol": 1e-6, "maxiter": _MOST_STEPS},
    )
    point = torch.from_numpy(result.x).to(start.device)
    return point if bool(point.isfinite().all()) else start


def _collect(
    model: MultimodalModel, batches: Iterable[Batch]
) -> tuple[dict[str, Tensor], Tensor, dict[str, TargetBatch], Tensor]:
    """Per target all rows' experts' outputs; which experts are there; the targets; the rows' weights."""
    device = next(model.parameters()).device
    outputs: dict[str, list[Tensor]] = {}
    targets: dict[str, list[TargetBatch]] = {}
    present, weights = [], []
    for batch in batches:
        batch = batch.to(device)
        rows = batch.rows >= 0
        found, fused = model.expert_outputs(batch)
        assert fused.votes is not None
        columns = torch.stack([fused.tokens.mask[:, slice(*fused.spans[n])].any(dim=1) for n in model.schema.names], 1)
        if len(model.fusion.prior()) > columns.shape[1]:
            columns = torch.cat([columns, columns.any(dim=1, keepdim=True)], dim=1)
        # Inference tensors can't be differentiated through: copies can.
        present.append(columns[rows].clone())
        weights.append(batch.weights[rows])
        for name, values in found.items():
            outputs.setdefault(name, []).append(values[rows].clone())
            target = batch.targets[name]
            targets.setdefault(name, []).append(TargetBatch(values=target.values[rows], present=target.present[rows]))
    return (
        {name: torch.cat(parts) for name, parts in outputs.items()},
        torch.cat(present) if present else torch.zeros(0),
        {
            name: TargetBatch(
                values=torch.cat([part.values for part in parts]), present=torch.cat([part.present for part in parts])
            )
            for name, parts in targets.items()
        },
        torch.cat(weights) if weights else torch.zeros(0),
    )

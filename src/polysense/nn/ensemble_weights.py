"""Ensemble weights: how much each expert of an ensemble head counts, fitted on rows that it was not trained on.

A few numbers on a few hundred rows: the weights that minimize the task's loss, with a Gaussian prior of standard
deviation 1 around the weights before fitting, in nats over all rows. So a handful of rows moves little, and many
decide. Then experts that the rows have taken most of their weight from, or that began with none, are dropped, the least
useful first, as long as that costs less than two nats (a parameter that explains nothing gains half a nat on average
and two in one case of twenty): what does not help has weight 0, and not a little.

Networks have seen the training rows, estimators have scores of them by models that have not (cross-validation). So
estimators are first weighed against one another, on the training rows, which are many; where they are not, near to
equal weights. Then all of them together are weighed against the networks, on the validation rows, which are few and
which chose the networks' best epoch. Networks join only if the loss of these rows falls by more than two standard
errors: on 42 rows a network with an R2 of .74, which had .71 on other rows, took most of the weight from simple models
with .81.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polysense.core.batch import Truth
from polysense.core.pytree import concatenate
from polysense.core.spelling import enumerated
from polysense.nn.ensemble_head import EnsembleHead, Experts
from polysense.nn.estimators.examples import OutOfFold
from polysense.nn.head import Head
from polysense.nn.held_out import HeldOut
from polysense.nn.model import MultimodalModel

__all__ = ["EnsembleWeights", "fit_ensemble_weights", "scaled_losses"]

_MOST_NAMES = 8  # of experts without a weight that are named; of more it is said how many
_WORTH = 2.0
"""Nats over all rows that an expert must be worth: by chance one in fifty that explain nothing seems to be."""

_FEW_ROWS, _DEVIATION_OF_FEW = 100, 0.3
"""Rows up to which weights keep near to those before fitting, and the prior's standard deviation there. Training rows,
for estimators' equal weights: on 40 to 80 rows a deviation of 1 had .005 to .017 more loss on other rows, the mean of
five tables of which digits had less; on 120 rows there was no difference. Validation rows, for estimators alone: where
these are few, nothing is dropped either. Networks whose best epoch they chose took all the weight on 42 rows (loss on
other rows .844 against .665); in 24 trials of eleven tables it was more in one, by .028."""

_TRIED = 4
"""Experts of which each is a candidate for being dropped; of more that are doubtful, half are tried together first."""

_ERRORS = 2.0
"""Standard errors of its mean by which the loss must fall for networks to join estimators."""


@dataclass(frozen=True, kw_only=True)
class EnsembleWeights:
    """The fitted weights of a head.

    Attributes:
        weights: Per expert, all at least 0.
        num_held_out: Rows that no expert was trained on, on which they were fitted.
        num_training: Training rows on whose out-of-fold scores estimators were weighed.
        kind: Which rows the first are.
    """

    weights: Mapping[str, float]
    num_held_out: int
    num_training: int
    kind: str = "validation"

    def __str__(self) -> str:
        used = sorted(((weight, name) for name, weight in self.weights.items() if weight > 0), reverse=True)
        unused = [name for name, weight in self.weights.items() if weight == 0]
        rows = [
            f"{num:,} {kind} rows"
            for num, kind in ((self.num_held_out, self.kind), (self.num_training, "out-of-fold training"))
            if num
        ]
        listed = ", ".join(f"{name} {weight:.2f}" for weight, name in used)
        without = f"; weight 0, as they did not help: {enumerated(unused, _MOST_NAMES)}" if unused else ""
        return f"fusion weights fitted on {' and '.join(rows)}: {listed or 'none'}{without}"


def fit_ensemble_weights(
    model: MultimodalModel,
    rows: HeldOut | None,
    out_of_fold: Mapping[str, OutOfFold] | None = None,
    *,
    sparse: bool = True,
    kind: str = "validation",
) -> dict[str, EnsembleWeights]:
    """Fits the weights of every ensemble head that asks for it (`weights: validation`), and puts them in.

    Args:
        model: In evaluation mode, its estimators fitted on training rows alone.
        rows: Validation rows, as this model reads them; None where there are none.
        out_of_fold: Per target the estimators' scores of training rows.
        sparse: Whether experts are dropped that are not worth their weight, which takes many times as long.
        kind: Which rows `rows` are, for the log.

    Returns:
        Per target the experts' weights; of heads for which there are any rows.
    """
    heads = {
        name: head for name, head in model.by_target().items() if isinstance(head, EnsembleHead) and head.fits_weights
    }
    results = {}
    for name, head in heads.items():
        own, parts = (out_of_fold or {}).get(name), None if rows is None else rows.experts[name]
        if parts is None and own is None:
            continue
        stacked, num_training = _weighed_estimators(head, own)
        prior = head.prior().double()
        num = len(prior) - len(stacked)
        if not parts:
            # Nothing says how good the networks are: they and the estimators count alike.
            share = 0.5 if stacked.any() else 0.0
            fitted, num_held_out = torch.cat([prior[:num] * (1 - share), stacked * share]), 0
        else:
            experts, truth, weights = concatenate(parts)
            num_held_out = int((truth.present & (weights > 0)).sum())
            fitted = _weighed_experts(head, experts, truth, weights, prior[:num], stacked, sparse=sparse)
        head.fitted.copy_(fitted.to(head.fitted))
        results[name] = EnsembleWeights(
            weights=dict(zip(head.weight_names, fitted.tolist(), strict=True)),
            num_held_out=num_held_out,
            num_training=num_training,
            kind=kind,
        )
    return results


def _weighed_estimators(head: EnsembleHead, out_of_fold: OutOfFold | None) -> tuple[Float[Tensor, " estimators"], int]:
    """The estimators' weights among themselves, and on how many rows they were fitted."""
    names, weights_of_all = head.estimator_names, torch.zeros(len(head.estimator_names), dtype=torch.float64)
    # One that was not fitted, for lack of time or of rows, speaks of no row.
    fitted_ones = [i for i, each in enumerate(head.named_estimators().values()) if each.is_fitted]
    if not fitted_ones or out_of_fold is None:
        return weights_of_all, 0
    names = tuple(names[i] for i in fitted_ones)
    inner: Head[object] = head.inner
    device = head.fitted.device
    scores = [torch.from_numpy(out_of_fold.scores[name]).to(device) for name in names]
    present = torch.stack([each.isfinite().all(dim=1) for each in scores], dim=1)
    outputs = [inner.output_of(each.nan_to_num(0.0).float()) for each in scores]
    some = present.any(dim=1)
    truth, weights = out_of_fold.truth.to(device), out_of_fold.weights.to(device) * some
    prior = torch.full((len(names),), 1 / len(names), dtype=torch.float64)
    deviation = _DEVIATION_OF_FEW if int((truth.present & some).sum()) <= _FEW_ROWS else 1.0
    fitted = _fitted(inner, outputs, present, truth, weights, prior, head, deviation=deviation)
    total = float(fitted.sum())
    # Where experts are averaged, only the ratios count.
    is_mean = head.space == "probabilities" or inner.score_kind == "numbers"
    weights_of_all[fitted_ones] = fitted / total if is_mean and total > 0 else fitted
    return weights_of_all, int((truth.present & some).sum())


def _weighed_experts(
    head: EnsembleHead,
    experts: Experts,
    truth: Truth,
    weights: Tensor,
    prior: Float[Tensor, " networks"],
    stacked: Float[Tensor, " estimators"],
    *,
    sparse: bool,
) -> Float[Tensor, " experts"]:
    """The weights of the networks, and of all estimators in their own proportions."""
    inner: Head[object] = head.inner
    if not stacked.any():
        networks = experts.each[: len(prior)], experts.present[:, : len(prior)]
        fitted = _fitted(inner, *networks, truth, weights, prior, head, sparse=sparse)
        return torch.cat([fitted, stacked])
    num = len(prior)
    there = experts.present[:, num:] & (stacked > 0).to(experts.present.device)
    shares = (there * stacked.to(there.device)).float()
    outputs = [*experts.each[:num], inner.combine(experts.each[num:], shares, head.space)]
    present = torch.cat([experts.present[:, :num], there.any(dim=1, keepdim=True)], dim=1)
    alone = torch.tensor([0.0] * num + [1.0], dtype=prior.dtype)
    are_few = int((truth.present & (weights > 0)).sum()) <= _FEW_ROWS
    deviation = _DEVIATION_OF_FEW if are_few else 1.0
    fitted = _fitted(
        inner, outputs, present, truth, weights, alone, head, sparse=sparse and not are_few, deviation=deviation
    )
    # Rows that no estimator reads anything of count for neither side: the networks have them in any case.
    weights = weights * present[:, num]
    before, after = (
        inner.loss(inner.combine(outputs, (present * each.to(present.device)).float(), head.space), truth)["loss"].total
        for each in (alone, fitted)
    )
    if not _falls(before - after, weights):
        fitted = alone
    return torch.cat([fitted[:num], fitted[num] * stacked])


def scaled_losses(
    head: EnsembleHead, experts: Experts, truth: Truth, weights: Float[Tensor, " rows"]
) -> dict[str, float]:
    """Per column its expert's mean loss with the best factor on its output; NaN where no row has the column.

    Args:
        head: Whose experts they are.
        experts: Of held-out rows.
        truth: Of the rows.
        weights: Of the rows.
    """
    inner: Head[object] = head.inner
    results, one = {}, torch.ones(1, dtype=torch.float64)
    for index, column in enumerate(head.columns):
        output, present = experts.each[index], experts.present[:, index : index + 1]
        own = truth.masked(present[:, 0])
        factor = _fitted(inner, [output], present, own, weights, one, head, sparse=False)
        scaled = inner.combine([output], (present * factor.to(present.device)).float(), head.space)
        loss = inner.loss(scaled, own)["loss"]
        count = float((loss.count * weights).sum())
        results[column] = float((loss.total * weights).sum()) / count if count else float("nan")
    return results


def _falls(gains: Float[Tensor, " rows"], weights: Float[Tensor, " rows"]) -> bool:
    """Whether rows gain more on average than chance explains."""
    gains, weights = gains.double(), weights.double()
    total = weights.sum()
    if not float(total):
        return False
    mean = (gains * weights).sum() / total
    error = (weights * (gains - mean)).square().sum().sqrt() / total
    return bool(mean > _ERRORS * error)


def _fitted(
    inner: Head[object],
    outputs: Sequence[object],
    present: Bool[Tensor, "rows experts"],
    truth: Truth,
    weights: Float[Tensor, " rows"],
    prior: Float[Tensor, " experts"],
    head: EnsembleHead,
    *,
    sparse: bool = True,
    deviation: float = 1.0,
) -> Float[Tensor, " experts"]:
    """The non-negative weights where the loss is least, 0 for experts that are worth too little.

    Args:
        inner: The experts' own head.
        outputs: Of each expert.
        present: Which rows have which.
        truth: Of the rows.
        weights: Of the rows.
        prior: The weights before.
        head: Whose experts they are.
        sparse: Whether experts are dropped.
        deviation: The prior's standard deviation.
    """
    from scipy.optimize import minimize

    total = weights.sum().clamp(min=1)

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            guess = torch.tensor(point, dtype=torch.float64, device=weights.device, requires_grad=True)
            combined = inner.combine(outputs, (present * guess).float(), head.space)
            losses = inner.loss(combined, truth)["loss"].total
            surprise = 0.5 * ((guess - prior.to(guess.device)) / deviation).square().sum()
            value = (surprise + (losses * weights).sum()) / total
            (gradient,) = torch.autograd.grad(value, guess)
        return float(value.detach()), gradient.cpu().numpy()

    def least(used: np.ndarray, start: np.ndarray) -> tuple[float, np.ndarray]:
        bounds = [(0.0, None if each else 0.0) for each in used]
        result = minimize(objective, np.where(used, start, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
        return float(result.fun), np.where(used, result.x, 0.0)

    # From a little of everything: a weight of 0 of an expert that is perfect so far could not be told from none.
    used = np.ones(len(prior), dtype=bool)
    value, point = least(used, prior.clamp(min=0.01).numpy())
    if not float(weights.sum()):
        return prior
    # What a loss is in nats: squares are half of it where their mean is 1.
    nats = 1.0 if inner.score_kind != "numbers" else 0.5 / max(value, 1e-12)
    center, most = prior.numpy(), len(prior)
    while sparse and (used := point > 0).sum() > 1:
        # Where rows have not spoken against an expert, the prior holds. The smallest weights alone are tried: with 30
        # columns, trying each would take a minute. With 400, of which hardly one is worth anything, so would dropping
        # one after another: as many as cost no more than one may are dropped at once.
        doubtful = used & ((center == 0) | (point <= center / 2))
        smallest = [i for i in np.argsort(point).tolist() if doubtful[i]]
        most = min(most, len(smallest) // 2)
        groups = [smallest[:most]] if most > _TRIED else [[i] for i in smallest[:_TRIED]]
        drops = [least(used & ~np.isin(np.arange(len(used)), group), point) for group in groups]
        cheapest = min(drops, key=lambda drop: drop[0], default=(np.inf, point))
        if (cheapest[0] - value) * float(total) * nats < _WORTH:
            value, point = cheapest
        elif most > _TRIED:
            most //= 2
        else:
            break
    return torch.from_numpy(point)

"""A model's losses: what they are called, what they weigh, what they are divided by, and their rows.

A target's losses are called like the target where it has one alone, else `target/loss`; an objective's are
`objective/loss`. The names are for logs: nobody takes them apart, since heads and objectives are asked what theirs are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.rows import ColumnLosses, RowLoss
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.head import BaseHead, Head
from polysense.nn.objectives.base import Objective, TrainingState
from polysense.nn.objectives.unimodal import UnimodalHeads

__all__ = ["column_losses", "loss_counts", "loss_rows", "loss_weights"]


def loss_weights(heads: Mapping[str, BaseHead], objectives: Mapping[str, Objective]) -> dict[str, float]:
    """Each loss's weight in the sum, the targets' first."""
    weights: dict[str, float] = {}
    for head in heads.values():
        own = head.loss_weights  # once: an ensemble's holds one for each column
        weights |= {name: head.loss_weight * own[loss] for loss, name in head.loss_names.items()}
    for name, objective in objectives.items():
        weights |= {f"{name}/{loss}": weight for loss, weight in objective.weights.items()}
    return weights


def loss_counts(
    batch: Batch, heads: Mapping[str, Head[object]], objectives: Mapping[str, Objective]
) -> dict[str, Float[Tensor, ""]]:
    """What each loss is divided by, without a forward."""
    if batch.mixed is not None:
        share = batch.mixed.share
        own = replace(batch, mixed=None, weights=batch.weights * share)
        other = replace(batch.mixed.batch, weights=batch.mixed.batch.weights * (1 - share))
        counts, others = (loss_counts(each, heads, objectives) for each in (own, other))
        return {name: count + others[name] for name, count in counts.items()}
    counts = {}
    for head in heads.values():
        truth = head.truth(batch)
        assert truth is not None, f"the batch has no truth of {head.target.name!r}"
        counts |= {head.loss_names[loss]: count for loss, count in head.count(truth).items()}
    for name, objective in objectives.items():
        counts |= {f"{name}/{loss}": count for loss, count in objective.count(batch, heads).items()}
    # Many losses are counted alike: each tensor is summed once.
    sums = {id(count): (count * batch.weights).sum() for count in counts.values()}
    return {name: sums[id(count)] for name, count in counts.items()}


def loss_rows(
    state: TrainingState, objectives: Mapping[str, Objective], deferred: Collection[str] = ()
) -> dict[str, RowLoss]:
    """Each loss of each row, times the row's weight.

    Args:
        state: The forward.
        objectives: By name.
        deferred: Targets whose losses are left out.
    """
    mixed = state.batch.mixed
    if mixed is not None:
        # A loss of the same outputs for each of the two truths: linear in the target, as cross entropy is, that is the
        # loss of the mixed target.
        batch = replace(state.batch, mixed=None, weights=state.batch.weights * mixed.share)
        losses = loss_rows(replace(state, batch=batch), objectives, deferred)
        truths = {name: truth for name, head in state.heads.items() if (truth := head.truth(mixed.batch)) is not None}
        weights = mixed.batch.weights * (1 - mixed.share)
        batch = replace(batch, truths=mixed.batch.truths, weights=weights)
        others = loss_rows(replace(state, batch=batch, truths=truths), objectives, deferred)
        return {name: row.plus(others[name]) for name, row in losses.items()}
    own = {
        name: head.loss(state.outputs[name], state.truths[name])
        for name, head in state.heads.items()
        if name not in deferred
    }
    losses = {state.heads[name].loss_names[loss]: row for name, rows in own.items() for loss, row in rows.items()}
    state = replace(state, losses=own)
    for name, objective in objectives.items():
        losses |= {f"{name}/{loss}": row for loss, row in objective(state).items()}
    weighted = {name: loss.weighted(state.batch.weights) for name, loss in losses.items()}
    if weighted:
        # Heads need not read the summary; it is touched even so, or peers wait for its gradients for ever.
        first, idle = next(iter(weighted)), state.fused.pooled.float().sum(dim=1) * 0.0
        weighted[first] = RowLoss(weighted[first].total + idle, weighted[first].count)
    return weighted


def column_losses(heads: Mapping[str, BaseHead], objectives: Mapping[str, Objective]) -> dict[str, ColumnLosses]:
    """Per target the losses of each column alone, where there are any: of an ensemble's experts, or an objective."""
    losses = {name: head.column_losses for name, head in heads.items() if isinstance(head, EnsembleHead)}
    for name, objective in objectives.items():
        if isinstance(objective, UnimodalHeads):
            for target in objective.targets:
                own = {column: f"{name}/{objective.loss_name(target, column)}" for column in objective.columns}
                losses[target] = ColumnLosses(target, own)
    return losses

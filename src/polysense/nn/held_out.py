"""Losses and experts of rows that are held out: one pass in evaluation mode, before the rows are scored.

The losses are those that training adds up, by the same names and weights, so that both can be drawn in one figure. What
differs stands here: there is no dropout, no augmentation, no masking, and the weights stay as they are over the pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from polysense.core.batch import Batch, Truth
from polysense.core.tokens import Tokens
from polysense.nn.ensemble_head import EnsembleHead, Experts
from polysense.nn.model import MultimodalModel

__all__ = ["HeldOut", "Outputs", "experts_of", "read_held_out"]

Outputs: TypeAlias = Mapping[str, list[tuple[object, Truth, Tensor]]]
"""Per target, part by part, what its head gave for rows that were not trained on, their truth and their weights."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOut:
    """What a pass over held-out rows leaves behind.

    Attributes:
        losses: Each loss's mean over the rows, by its name in the model's `loss_weights`; without those that nothing
            counted for.
        experts: Per target of an ensemble head whose weights are fitted, what its experts gave, batch by batch: their
            outputs, the truth and the rows' weights.
    """

    losses: Mapping[str, float]
    experts: Mapping[str, list[tuple[Experts, Truth, Tensor]]]


def experts_of(outputs: Outputs) -> dict[str, list[tuple[Experts, Truth, Tensor]]]:
    """Those of ensemble heads."""
    results = {}
    for name, parts in outputs.items():
        own = [(output, truth, weights) for output, truth, weights in parts if isinstance(output, Experts)]
        if len(own) == len(parts):
            results[name] = own
    return results


@torch.no_grad()
def read_held_out(
    model: MultimodalModel,
    batches: Iterable[Batch],
    *,
    losses: bool = True,
    encoded: Callable[[Batch], Mapping[str, Tokens]] | None = None,
) -> HeldOut:
    """Reads held-out rows.

    Args:
        model: In evaluation mode.
        batches: Rows with targets.
        losses: Whether the losses are computed; else there are none.
        encoded: What the model's `encode` gives for a batch on the model's device, where somebody keeps it.
    """
    heads = {
        name: head for name, head in model.by_target().items() if isinstance(head, EnsembleHead) and head.fits_weights
    }
    device = next(model.parameters()).device
    experts: dict[str, list[tuple[Experts, Truth, Tensor]]] = {name: [] for name in heads}
    sums: dict[str, list[Tensor]] = defaultdict(list)
    for batch in batches:
        moved = batch.to(device)
        real = moved.rows >= 0  # fillers weigh nothing
        tokens = None if encoded is None else encoded(moved)
        read = model.losses(moved, tokens) if losses else model(moved, only=tuple(heads))
        for name, loss in read.losses.items():
            sums[name].append(torch.stack([(loss.total * real).sum(), (loss.count * real).sum()]).double().cpu())
        for name, head in heads.items():
            output, truth = read.outputs[name], head.truth(moved)
            assert isinstance(output, Experts)
            assert truth is not None
            experts[name].append((output, truth, moved.weights * real))
    totals = {name: torch.stack(parts).sum(dim=0).tolist() for name, parts in sums.items()}
    return HeldOut(
        losses={name: total / count for name, (total, count) in totals.items() if count > 0}, experts=experts
    )

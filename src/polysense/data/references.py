"""Of several references, the one that a row is trained on: a pure function of (seed, epoch, row).

Drawn in the process that trains, since a worker process knows no epoch; so a run draws the same with 0 or 8 workers,
resumed or not, and in each epoch anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from polysense.core.batch import Batch, TargetBatch
from polysense.core.random import uniforms

__all__ = ["draw_references"]


def draw_references(batch: Batch, seed: int, epoch: int) -> Batch:
    """The batch with one reference in each row of each text target.

    Args:
        batch: As collated with `all_references`, in main memory.
        seed: Of the draws.
        epoch: From 0.
    """
    targets = dict(batch.targets)
    for name, target in batch.targets.items():
        if target.lengths is not None and target.lengths.dim() == 2:
            draws = uniforms(1, seed, epoch, batch.rows.numpy(), "reference", name)[:, 0]
            targets[name] = _drawn(target, draws)
    return replace(batch, targets=targets)


def _drawn(target: TargetBatch, draws: np.ndarray) -> TargetBatch:
    assert target.lengths is not None
    num_references = (target.lengths > 0).sum(dim=1)  # they come first
    chosen = (torch.from_numpy(draws) * num_references).long()
    rows = torch.arange(len(chosen))
    values, lengths = target.values[rows, chosen], target.lengths[rows, chosen]
    longest = max(2, int(lengths.max())) if len(lengths) else 2
    return replace(target, values=values[:, :longest].contiguous(), lengths=lengths)

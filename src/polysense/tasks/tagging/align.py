"""Alignment of segments with a column whose content was moved in time: they move along, cut where it was cut."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.batch import ColumnBatch, ValueTruth
from polysense.core.schema import Target

__all__ = ["align"]


def align(target: Target, truth: ValueTruth, matrices: Float[Tensor, "batch 3 3"], column: ColumnBatch) -> ValueTruth:
    """See `TaskSpec.align`."""
    records, lengths = truth.values, column.lengths[:, :1].to(truth.values.dtype)
    # A column that was left out has no length; the row's own stays what its loss is counted by.
    lengths = torch.where(lengths > 0, lengths, records[:, 0, 1:2])
    segments = records[:, 1:]
    known = ~matrices.isnan().any(dim=2).any(dim=1)
    scale, shift = matrices[:, :1, :1].nan_to_num(1.0), matrices[:, :1, 2:].nan_to_num(0.0)
    positions = torch.minimum((segments[:, :, :2] * scale + shift).clamp(min=0), lengths[:, :, None])
    classes = segments[:, :, 2].masked_fill(positions[:, :, 1] <= positions[:, :, 0], -1.0)
    moved = torch.cat([positions.masked_fill((classes < 0)[:, :, None], 0.0), classes[:, :, None]], dim=2)
    whole = torch.stack([torch.zeros_like(lengths), lengths, torch.full_like(lengths, -1.0)], dim=2)
    return replace(truth, values=torch.cat([whole, moved], dim=1), present=truth.present & known)

"""Targets whose truth are the inputs: the model hands over the columns that it has, so no loader copies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from polysense.core.batch import Batch, ColumnBatch, TargetBatch
from polysense.core.modality import Task

__all__ = ["seen", "with_items", "with_truth"]


def with_items(columns: Mapping[str, ColumnBatch]) -> dict[str, ColumnBatch]:
    """The columns that have storage; the others are known to be absent."""
    return {name: column for name, column in columns.items() if column.lengths.shape[1]}


def with_truth(heads: Sequence[Any], batch: Batch) -> dict[str, TargetBatch]:
    """The batch's targets; those of heads that restore columns with the columns, and there at prediction too."""
    found = dict(batch.targets)
    for head in heads:
        if head.target.task is not Task.RECONSTRUCTION:
            continue
        present = torch.zeros(len(batch), dtype=torch.bool, device=batch.device)
        for name in head.target.members:
            if name in batch.columns:
                present = present | batch.columns[name].present
        given = found.get(head.target.name)
        values = present.new_zeros(len(batch), head.target.num_outputs) if given is None else given.values
        found[head.target.name] = TargetBatch(
            values=values.float(),
            present=present,
            columns=with_items(batch.columns),
            keys=batch.keys,
            progress=batch.progress,
        )
    return found


def seen(heads: Sequence[Any], batch: Batch) -> Batch:
    """The batch as the encoders get it in training: what a head has to restore is hidden from all."""
    for head in heads:
        if head.target.task is Task.RECONSTRUCTION:
            batch = head.corrupted(batch)
    return batch

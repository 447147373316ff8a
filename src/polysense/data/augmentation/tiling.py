"""Four images put together into one, with what lies in them (mosaic); `data.batches.tiling` draws how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polysense.core.batch import Batch, ColumnBatch, Truth
from polysense.core.registry import named, task
from polysense.core.schema import Schema
from polysense.data.augmentation.warp import warp

__all__ = ["tiled"]


def tiled(batch: Batch, schema: Schema) -> Batch:
    """The batch without partners, which its images and its truths show now.

    A row of which one of the four has no image or no target is left alone: of what is not known to be there a model
    would learn that it is not.

    Args:
        batch: Varied, and so are its partners.
        schema: Its columns and targets.
    """
    assert batch.tiled is not None, "the batch has no rows to put beside its own"
    name, four = batch.tiled.column, (batch, *batch.tiled.others)
    chosen = torch.stack([_complete(each, name, schema) for each in four]).all(dim=0)
    column = batch.columns[name]
    matrices = _where(chosen, batch.tiled.matrices)
    height, width = column.values.shape[-2:]
    inside = _inside(matrices, height, width)
    values = column.values[:, 0]
    for place, each in enumerate(four):
        moved = warp(each.columns[name].values[:, 0], matrices[:, place])
        values = torch.where(inside[:, place, None] & chosen[:, None, None, None], moved, values)
    truths = dict(batch.truths)
    for target in schema.targets:
        spec = task(target.task)
        if target.name in truths and isinstance(spec.align, str) and isinstance(spec.join, str):
            align = named(spec.align)
            aligned = [
                align(target, each.truths[target.name], matrices[:, place], each.columns[name])
                for place, each in enumerate(four)
            ]
            truth = named(spec.join)(target, aligned, inside)
            assert isinstance(truth, Truth), f"{spec.join} gave a {type(truth).__name__}, expected a truth"
            truths[target.name] = truth
    values = torch.cat([values[:, None], column.values[:, 1:]], dim=1)
    columns: Mapping[str, ColumnBatch] = {
        **batch.columns,
        name: replace(column, values=values, geometry=_lost(column, chosen)),
    }
    return replace(batch, columns=columns, truths=truths, tiled=None)


def _complete(batch: Batch, name: str, schema: Schema) -> Bool[Tensor, " batch"]:
    """The rows that have an image and every target."""
    there = batch.columns[name].lengths[:, :1].sum(dim=1) > 0
    for target in schema.targets:
        if target.name in batch.truths:
            there = there & batch.truths[target.name].present
    return there


def _where(
    chosen: Bool[Tensor, " batch"], matrices: Float[Tensor, "batch tiles 3 3"]
) -> Float[Tensor, "batch tiles 3 3"]:
    """Where each image comes to lie; in a row that is left alone its own where it was, and the others far outside."""
    alone = torch.eye(3, device=matrices.device).repeat(matrices.shape[1], 1, 1)
    alone[1:, :2, 2] = -1e6
    return torch.where(chosen[:, None, None, None], matrices, alone)


def _inside(
    matrices: Float[Tensor, "batch tiles 3 3"], height: int, width: int
) -> Bool[Tensor, "batch tiles height width"]:
    """Which pixels show which image; each pixel one, since the images stand side by side."""
    x = torch.arange(width, device=matrices.device) + 0.5
    y = torch.arange(height, device=matrices.device) + 0.5
    scale, left, top = matrices[:, :, 0, 0, None], matrices[:, :, 0, 2, None], matrices[:, :, 1, 2, None]
    across = (x >= left) & (x < left + scale * width)
    down = (y >= top) & (y < top + scale * height)
    return down[:, :, :, None] & across[:, :, None, :]


def _lost(column: ColumnBatch, chosen: Bool[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"] | None:
    """The geometry, which several originals do not have."""
    if column.geometry is None:
        return None
    return column.geometry.masked_fill(chosen[:, None, None], torch.nan)

"""All that training does to a batch before the model sees it.

Modality dropout teaches a model to do without: each present cell is left out with a small probability, but never all
of a row's. It is the same masking that a missing cell goes through, so nothing new has to be learned for it.

A target that lies in a column (a mask, segments) follows what moves there: its task aligns the truth by the matrices
that the column's transform gives, so heads and objectives see inputs and truth that belong together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polysense.core.batch import Batch, ColumnBatch, Truth
from polysense.core.random import fold, uniforms
from polysense.core.registry import modality, named, task
from polysense.core.schema import Column, Schema
from polysense.data.augmentation.base import Transform
from polysense.data.augmentation.pasting import pasted
from polysense.data.augmentation.tiling import tiled
from polysense.data.augmentation.warp import composed

__all__ = ["augment"]

_TILED = 0.9
"""The share of the epochs in which images may be put together; in the last ones they are as they will be predicted (Ge
et al., "YOLOX: Exceeding YOLO Series in 2021", section 2.1)."""


def augment(
    batch: Batch,
    schema: Schema,
    transforms: Mapping[str, Transform],
    *,
    seed: int,
    epoch: int,
    epochs: int | None = None,
    views: int | None = None,
    modality_dropout: float = 0.0,
    again: int = 0,
    rows: np.ndarray | None = None,
) -> Batch:
    """Varies a batch; each row's result is a function of (seed, epoch, row, draw) and the row's own content.

    A row that an epoch draws several times is varied anew each time, except with `views`, where its versions are few.

    Args:
        batch: Not changed.
        schema: The batch's columns.
        transforms: Per column; a column that is not named stays as it is.
        seed: Of all draws.
        epoch: Likewise.
        epochs: Of the whole training; None where the batch is not to say how far it has come.
        views: How many versions each cell has, between which the epochs take turns; None: one for each epoch.
        modality_dropout: The probability with which each present column of a row is left out; one always stays.
        again: How many times more the cells of a row go through their transforms if the epoch has drawn it before.
        rows: int64 [batch], `batch.coordinates()` in main memory where the batch is on a GPU; without it they are
            fetched, which waits for the GPU.

    Returns:
        A new batch on the same device, its truths aligned, with the keys that the model's own draws are made from and
        the progress.
    """
    rows = batch.coordinates() if rows is None else rows
    columns, moved = dict(batch.columns), dict[str, Tensor]()
    if modality_dropout > 0:
        columns = _drop(columns, schema, rows, seed, epoch, modality_dropout)
    view, seen = (epoch, rows) if views is None else (epoch % views, batch.rows.cpu().numpy())
    for name, transform in transforms.items():
        if name in columns:
            columns[name], matrices = _transformed(columns[name], transform, seen, seed, view)
            if again and batch.draws is not None:
                columns[name], matrices = _varied_more(
                    columns[name], matrices, transform, schema.column(name), seen, batch.draws > 0, seed, view, again
                )
            if matrices is not None:
                moved[name] = matrices
    keys = torch.from_numpy(fold(seed, epoch, rows).view(np.int64)).to(batch.device)
    progress = None if epochs is None else torch.tensor((epoch + 1) / epochs, device=batch.device)
    truths = _aligned(batch.truths, schema, columns, moved)
    mixed = batch.mixed
    if mixed is not None:
        partner = augment(
            mixed.batch, schema, transforms, seed=seed, epoch=epoch, epochs=epochs, views=views,
            modality_dropout=modality_dropout,
        )  # fmt: skip
        mixed = dataclasses.replace(mixed, batch=partner)
        columns |= pasted(columns, mixed)
    varied = dataclasses.replace(batch, columns=columns, truths=truths, keys=keys, progress=progress, mixed=mixed)
    if batch.tiled is None:
        return varied
    if epochs is not None and epoch + 1 > _TILED * epochs:
        return dataclasses.replace(varied, tiled=None)
    others = tuple(
        augment(other, schema, transforms, seed=seed, epoch=epoch, epochs=epochs, views=views)
        for other in batch.tiled.others
    )
    return tiled(dataclasses.replace(varied, tiled=dataclasses.replace(batch.tiled, others=others)), schema)


def _transformed(
    column: ColumnBatch, transform: Transform, rows: np.ndarray, seed: int, epoch: int
) -> tuple[ColumnBatch, Float[Tensor, "batch 3 3"] | None]:
    """The augmented column, whose geometry still starts from the original; and how its values moved."""
    before = column.geometry
    column = transform(dataclasses.replace(column, geometry=None), rows, seed, epoch)
    moved = column.geometry
    if before is not None:
        column = dataclasses.replace(column, geometry=before if moved is None else composed(moved, before))
    return column, moved


def _varied_more(
    column: ColumnBatch,
    moved: Float[Tensor, "batch 3 3"] | None,
    transform: Transform,
    kind: Column,
    rows: np.ndarray,
    repeated: Bool[Tensor, " batch"],
    seed: int,
    epoch: int,
    times: int,
) -> tuple[ColumnBatch, Float[Tensor, "batch 3 3"] | None]:
    """The column, some of whose rows were transformed once more, each time by draws of its own."""
    padding = modality(kind.modality).padding(kind)
    for time in range(times):
        after, step = _transformed(column, transform, rows, int(fold(seed, "again", time)), epoch)
        if step is not None:
            still = torch.eye(3, device=step.device).expand_as(step)
            step = torch.where(repeated[:, None, None], step, still)
            moved = step if moved is None else composed(step, moved)
        more = [0] * (2 * column.values.dim())
        for axis, (size, larger) in enumerate(zip(column.values.shape, after.values.shape, strict=True)):
            more[-2 * axis - 1] = larger - size  # a transform may lengthen items, and never cuts the padding
        values = torch.nn.functional.pad(column.values, more, value=padding)
        geometry = after.geometry
        if geometry is not None and column.geometry is not None:
            geometry = torch.where(repeated[:, None, None], geometry, column.geometry)
        column = dataclasses.replace(
            column,
            values=torch.where(repeated.view(-1, *[1] * (values.dim() - 1)), after.values, values),
            lengths=torch.where(repeated[:, None], after.lengths, column.lengths),
            geometry=geometry,
        )
    return column, moved


def _aligned(
    truths: Mapping[str, Truth],
    schema: Schema,
    columns: Mapping[str, ColumnBatch],
    moved: Mapping[str, Float[Tensor, "batch 3 3"]],
) -> Mapping[str, Truth]:
    """The truths, those that lie in a column that moved as it now lies."""
    changed = dict(truths)
    for target in schema.targets if moved else ():
        spec = task(target.task)
        name = spec.lies_in(target)
        if name is not None and name in moved and target.name in truths and isinstance(spec.align, str):
            truth = named(spec.align)(target, truths[target.name], moved[name], columns[name])
            assert isinstance(truth, Truth), f"{spec.align} gave a {type(truth).__name__}, expected a truth"
            changed[target.name] = truth
    return changed


def _drop(
    columns: dict[str, ColumnBatch], schema: Schema, rows: np.ndarray, seed: int, epoch: int, probability: float
) -> dict[str, ColumnBatch]:
    names = [name for name in schema.names if name in columns]
    if not names:
        return columns
    draws = np.stack([uniforms(1, seed, epoch, rows, "modality dropout", name)[:, 0] for name in names], axis=1)
    present = torch.stack([columns[name].present for name in names], dim=1)
    uniform = torch.from_numpy(draws).to(present.device)
    keep = present & (uniform >= probability)
    # Of a row that would lose all, the present column with the largest draw stays.
    last = torch.where(present, uniform, -1.0).argmax(dim=1)
    spared = torch.zeros_like(keep).scatter_(1, last[:, None], True) & ~keep.any(dim=1, keepdim=True)
    keep |= spared & present
    return {name: columns[name].masked(keep[:, i]) for i, name in enumerate(names)}
